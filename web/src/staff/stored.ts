// What a page keeps in the browser to find again after a reload: references and amounts, and the terminal's address and
// token. Nothing of a person, no code, no PIN.

const PREFIX = 'selfsame.';

export function read<T>(name: string): T | null {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

export function write(name: string, value: unknown): void {
  if (value === null) localStorage.removeItem(PREFIX + name);
  else localStorage.setItem(PREFIX + name, JSON.stringify(value));
}
