// Calls of an interface, typed by its document (src/api/). A refusal is thrown as `Refused`, silence as `NoAnswer`.

import type { Problem } from '../api/server';

/** Longest wait for an answer, in milliseconds. The server answers within two seconds, whatever is asked. */
const ANSWER_MS_MAX = 8_000;

/** The interface's answer is no. */
export class Refused extends Error {
  constructor(readonly status: number, readonly problem: Partial<Problem>) {
    super(problem.detail ?? problem.code ?? `status ${status}`);
  }

  get code(): string { return this.problem.code ?? 'internal'; }
}

/** Nobody answered, or not in time: it is not known whether something was done. */
export class NoAnswer extends Error {}

interface Call { body: unknown; answer: unknown }

interface Options<Body> {
  body?: Body;
  /** Values of the `{name}` in the path. */
  path?: Readonly<Record<string, string>>;
  query?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  timeoutMs?: number;
}

/** A client of the interface whose operations are `Operations`, below `base` (same origin unless it names another one);
    every call has the headers `common`. */
export function client<Operations extends { [Name in keyof Operations]: Call }>(base = '', common: Readonly<Record<string, string>> = {}) {
  return async function call<Name extends keyof Operations & string>(
    operation: Name,
    options: Options<Operations[Name]['body']> = {},
  ): Promise<Operations[Name]['answer']> {
    const [method = 'GET', template = ''] = operation.split(' ');
    const path = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(options.path?.[name] ?? ''));
    const query = options.query ? `?${new URLSearchParams(options.query)}` : '';
    const timeout = AbortSignal.timeout(options.timeoutMs ?? ANSWER_MS_MAX);
    const gone = new AbortController();
    const stop = () => gone.abort();
    timeout.addEventListener('abort', stop);
    options.signal?.addEventListener('abort', stop);
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${base}${path}${query}`, {
        method,
        cache: 'no-store',
        signal: gone.signal,
        headers: { ...common, ...(options.body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
      text = await response.text();
    } catch (error) {
      throw new NoAnswer(operation, { cause: error });
    } finally {
      timeout.removeEventListener('abort', stop);
      options.signal?.removeEventListener('abort', stop);
    }
    if (!response.ok) throw new Refused(response.status, parsed(text) as Partial<Problem>);
    return parsed(text) as Operations[Name]['answer'];
  };
}

function parsed(text: string): unknown {
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    return {};
  }
}
