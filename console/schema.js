// A form made from a JSON Schema (2020-12), as far as flows' inputs use it. What it has no field for
// is written as JSON. The service checks the input; its words are shown at the fields.
import { html, useState } from './ui.js';

const SHORT_TEXT = 80;

// What a form begins with: the schema's defaults, and room for what is required.
export function initial(schema) {
  if (schema.default !== undefined) return schema.default;
  if ('const' in schema) return schema.const;
  switch (kindOf(schema)) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .map(([name, each]) => [name, initial(each)])
          .filter(([, value]) => value !== undefined),
      );
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => initial(schema.items ?? {}) ?? '');
    case 'choice':
      return initial(choices(schema)[0]);
    default:
      return undefined;
  }
}

// The value without what was left empty.
export function filled(value, required = []) {
  if (Array.isArray(value)) return value.map((each) => filled(each) ?? '');
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, each]) => each !== undefined && (each !== '' || required.includes(name)))
      .map(([name, each]) => [name, filled(each)]),
  );
}

function kindOf(schema) {
  if (schema.enum) return 'enum';
  if (schema.anyOf || schema.oneOf) return 'choice';
  const type = Array.isArray(schema.type) ? schema.type.find((each) => each !== 'null') : schema.type;
  if (type === 'object') return schema.properties ? 'object' : 'json';
  if (type === 'array') return 'array';
  if (type === 'integer' || type === 'number') return 'number';
  if (type === 'boolean' || type === 'string') return type;
  if (schema.minLength !== undefined || schema.format) return 'string';
  return 'json';
}

const choices = (schema) => schema.anyOf ?? schema.oneOf;

function nameOf(schema) {
  if (schema.title) return schema.title;
  const kind = kindOf(schema);
  if (kind === 'array') return `a list of ${nameOf(schema.items ?? {}).replace(/^an? /, '')}s`;
  return { string: 'a text', number: 'a number', boolean: 'yes or no', object: 'fields' }[kind] ?? 'JSON';
}

function limits(schema) {
  const said = [];
  if (schema.minimum !== undefined && schema.maximum !== undefined) {
    said.push(`from ${schema.minimum} to ${schema.maximum}`);
  } else if (schema.minimum !== undefined) said.push(`at least ${schema.minimum}`);
  else if (schema.maximum !== undefined) said.push(`at most ${schema.maximum}`);
  if (schema.maxLength) said.push(`at most ${schema.maxLength} characters`);
  if (schema.pattern) said.push(`as ${schema.pattern}`);
  return said.join(', ');
}

export const idOf = (path) => `f-${path}`;

// One field: `errors` by path, in the service's words.
export function Field({ schema, path, label, required = false, value, set, errors }) {
  const kind = kindOf(schema);
  if (kind === 'object') return html`<${Fields} ...${{ schema, path, label, value, set, errors }} />`;
  if (kind === 'array') return html`<${List} ...${{ schema, path, label, required, value, set, errors }} />`;
  if (kind === 'choice')
    return html`<${Choice} ...${{ schema, path, label, required, value, set, errors }} />`;
  return html`<div class="field">
    <label for=${idOf(path)}>${label}${required && html` <span class="needed">required</span>`}</label>
    <${Help} schema=${schema} path=${path} />
    <${Widget} ...${{ kind, schema, path, required, value, set }} wrong=${errors[path]} />
    <${Wrong} path=${path} errors=${errors} />
  </div>`;
}

function Help({ schema, path }) {
  const text = [schema.description, limits(schema)].filter(Boolean).join(' · ');
  return text && html`<p class="help" id=${`${idOf(path)}-help`}>${text}</p>`;
}

export const Wrong = ({ path, errors }) =>
  errors[path] && html`<p class="wrong" id=${`${idOf(path)}-wrong`}>Expected ${errors[path]}</p>`;

export function described(path, { wrong, help = true }) {
  const ids = [help && `${idOf(path)}-help`, wrong && `${idOf(path)}-wrong`].filter(Boolean);
  return {
    id: idOf(path),
    'aria-invalid': wrong ? 'true' : undefined,
    'aria-describedby': ids.join(' ') || undefined,
  };
}

function Widget({ kind, schema, path, required, value, set, wrong }) {
  const help = Boolean(schema.description || limits(schema));
  const common = { ...described(path, { wrong, help }), name: path };
  const write = (event) => set(event.target.value);
  if (kind === 'enum') {
    return html`<select ...${common} value=${value ?? ''} onChange=${(event) =>
      set(schema.enum.find((each) => String(each) === event.target.value))}>
      ${(!required || value === undefined) && html`<option value=""></option>`}
      ${schema.enum.map((each) => html`<option value=${String(each)}>${String(each)}</option>`)}
    </select>`;
  }
  if (kind === 'boolean') {
    return html`<span class="check"><input type="checkbox" ...${common} checked=${value === true}
      onChange=${(event) => set(event.target.checked)} /> Yes</span>`;
  }
  if (kind === 'number') {
    // What is no number goes on as it is: the service says what it expects instead.
    return html`<input type="number" ...${common} min=${schema.minimum} max=${schema.maximum}
      step=${schema.type === 'integer' ? 1 : 'any'} value=${value ?? ''}
      onInput=${(event) => set(event.target.value === '' ? undefined : Number(event.target.value))} />`;
  }
  if (kind === 'json') return html`<${Json} ...${{ common, value, set }} />`;
  if (schema.format || (schema.maxLength ?? Infinity) <= SHORT_TEXT) {
    return html`<input ...${common} value=${value ?? ''} onInput=${write} />`;
  }
  return html`<textarea ...${common} rows="3" value=${value ?? ''} onInput=${write}></textarea>`;
}

export function Json({ common, value, set, rows = 4 }) {
  const [text, setText] = useState(value === undefined ? '' : JSON.stringify(value, null, 2));
  const [wrong, setWrong] = useState('');
  function write(written) {
    setText(written);
    try {
      set(written.trim() === '' ? undefined : JSON.parse(written));
      setWrong('');
    } catch (error) {
      setWrong(error.message);
    }
  }
  const place = `${common.id}-json`;
  return html`<textarea ...${common} class="code" rows=${rows} spellcheck="false" value=${text}
      aria-invalid=${wrong ? 'true' : common['aria-invalid']}
      aria-describedby=${[common['aria-describedby'], wrong && place].filter(Boolean).join(' ') || undefined}
      onInput=${(event) => write(event.target.value)}></textarea>
    ${wrong && html`<p class="wrong" id=${place}>No JSON yet: ${wrong}</p>`}`;
}

function Fields({ schema, path, label, value, set, errors }) {
  const required = schema.required ?? [];
  const fields = Object.entries(schema.properties).map(
    ([name, each]) => html`<${Field} key=${name}
    schema=${each} path=${`${path}.${name}`} label=${each.title ?? name}
    required=${required.includes(name)} value=${value?.[name]} errors=${errors}
    set=${(changed) => set((old) => ({ ...old, [name]: next(changed, old?.[name]) }))} />`,
  );
  if (!label) return html`${fields}<${Wrong} path=${path} errors=${errors} />`;
  return html`<fieldset><legend>${label}</legend>${fields}</fieldset>`;
}

const next = (changed, old) => (typeof changed === 'function' ? changed(old) : changed);

function List({ schema, path, label, required, value = [], set, errors }) {
  const items = schema.items ?? { type: 'string' };
  const list = Array.isArray(value) ? value : [];
  const change = (at) => (changed) =>
    set((old = []) => old.map((each, index) => (index === at ? next(changed, each) : each)));
  return html`<fieldset class="list" id=${idOf(path)} tabindex="-1">
    <legend>${label}${required && html` <span class="needed">required</span>`}</legend>
    <${Help} schema=${schema} path=${path} />
    <ol>${list.map(
      (each, at) => html`<li key=${at}>
      <${Field} schema=${items} path=${`${path}.${at}`} label=${`${label} ${at + 1}`} value=${each}
        set=${change(at)} errors=${errors} />
      <button type="button" class="small quiet" aria-label=${`Remove ${label} ${at + 1}`}
        onClick=${() => set((old) => old.filter((_, index) => index !== at))}>Remove</button>
    </li>`,
    )}</ol>
    <button type="button" class="small" onClick=${() =>
      set((old = []) => [...old, initial(items) ?? ''])}>Add to ${label}</button>
    <${Wrong} path=${path} errors=${errors} />
  </fieldset>`;
}

function Choice({ schema, path, label, required, value, set, errors }) {
  const [at, setAt] = useState(0);
  const options = choices(schema);
  const chosen = { description: schema.description, ...options[at] };
  function choose(index) {
    setAt(index);
    set(initial(options[index]));
  }
  return html`<div class="choice">
    <label class="of"><span class="unseen">${label} is</span>
      <select onChange=${(event) => choose(Number(event.target.value))}>
        ${options.map((each, index) => html`<option value=${index}>${nameOf(each)}</option>`)}
      </select></label>
    <${Field} key=${at} schema=${chosen} path=${path} label=${label} required=${required}
      value=${value} set=${set} errors=${errors} />
  </div>`;
}
