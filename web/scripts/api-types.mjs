// Writes src/api/*.ts: from docs/openapi/*.json a type for every schema and a table of operations for `client`, and from
// the table in docs/interface.md the words of guidance.
// `node scripts/api-types.mjs`; needs no packages. A unit test says when the committed files are out of date.
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const WEB = new URL('..', import.meta.url);
const INTERFACES = ['server', 'terminal', 'kiosk', 'desk'];

const documentFile = (name) => new URL(`../docs/openapi/${name}.json`, WEB);

const identifier = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));

const union = (parts) => [...new Set(parts)].join(' | ') || 'never';

/** The TypeScript type of a JSON schema, as far as our documents use them. */
function type(schema, indent) {
  if (schema === undefined || Object.keys(schema).length === 0) return 'unknown';
  if (schema.$ref) return schema.$ref.split('/').at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return union(choices.map((choice) => type(choice, indent)));
  if (schema.allOf) return schema.allOf.map((part) => `(${type(part, indent)})`).join(' & ');
  const types = [schema.type].flat();
  return union(types.map((name) => plain(name, schema, indent)));
}

function plain(name, schema, indent) {
  switch (name) {
    case 'string': return 'string';
    case 'integer':
    case 'number': return 'number';
    case 'boolean': return 'boolean';
    case 'null': return 'null';
    case 'array': return list(type(schema.items, indent));
    case 'object': return schema.properties ? object(schema, indent) : map(schema, indent);
    default: return 'unknown';
  }
}

const list = (item) => (item.includes(' | ') ? `(${item})[]` : `${item}[]`);

// Not `Record`: a schema may be called so.
const map = (schema, indent) =>
  typeof schema.additionalProperties === 'object' ? `{ [key: string]: ${type(schema.additionalProperties, indent)} }`
  : schema.additionalProperties === false ? '{ [key: string]: never }'
  : '{ [key: string]: unknown }';

function object(schema, indent) {
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  const fields = Object.entries(schema.properties).map(([name, field]) => {
    const [mark, text] = required.has(name) ? ['', type(field, inner)]
      // Absent means absent with us, never null.
      : ['?', union(type(field, inner).split(' | ').filter((part) => part !== 'null'))];
    return `${comment(field.description ?? field.oneOf?.[0]?.description, inner)}${inner}${identifier(name)}${mark}: ${text};`;
  });
  return fields.length === 0 ? '{ [key: string]: never }' : `{\n${fields.join('\n')}\n${indent}}`;
}

const comment = (text, indent) =>
  text ? `${indent}/** ${text.replaceAll('*/', '* /').split(/\s*\n\s*/).join(' ')} */\n` : '';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

function operations(paths) {
  const lines = [];
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const { requestBody, responses } = item[method];
      const json = (content) => content?.content?.['application/json']?.schema;
      const answers = Object.entries(responses).filter(([status]) => status.startsWith('2'));
      const answer = union(answers.map(([, response]) => (json(response) ? type(json(response), '') : 'undefined')));
      const body = json(requestBody) ? type(json(requestBody), '') : 'undefined';
      lines.push(`  '${method.toUpperCase()} ${path}': { body: ${body}; answer: ${answer} };`);
    }
  }
  return `/** What is called, with what, and what comes back. */\nexport interface Operations {\n${lines.join('\n')}\n}\n`;
}

/** The types of an interface as they have to be. */
function types(name) {
  const { components, paths } = JSON.parse(readFileSync(documentFile(name), 'utf8'));
  const schemas = Object.entries(components.schemas).map(
    ([schema, body]) => `${comment(body.description, '')}export type ${schema} = ${type(body, '')};\n`,
  );
  const head = `// Generated from docs/openapi/${name}.json by scripts/api-types.mjs: do not edit.\n`;
  return [head, ...schemas, operations(paths)].join('\n');
}

/** The words of guidance. */
function guidance() {
  const page = readFileSync(new URL('../docs/interface.md', WEB), 'utf8');
  const table = page.split('<!-- begin generated: guidance -->')[1].split('<!-- end generated -->')[0];
  const rows = [...table.matchAll(/^\| `(\w+)` \| (.+?) \| (.+?) \|$/gm)];
  const words = (column) => rows.map((row) => `    ${row[1]}: ${JSON.stringify(row[column])},\n`).join('');
  return `// Generated from docs/interface.md by scripts/api-types.mjs: do not edit.

/** What the payer is asked to do, by its code. */
export const GUIDANCE: Record<'en' | 'zh-CN', Readonly<Record<string, string>>> = {
  en: {
${words(2)}  },
  'zh-CN': {
${words(3)}  },
};
`;
}

/** Every generated file with what it has to be. */
export function generated() {
  const files = [...INTERFACES.map((name) => [name, types(name)]), ['guidance', guidance()]];
  return files.map(([name, text]) => [`src/api/${name}.ts`, text]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const [file, text] of generated()) writeFileSync(new URL(file, WEB), text);
}
