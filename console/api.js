// The app's own API, asked with the key that this browser tab was given.

const KEPT = 'sluice.key';
const listeners = new Set();

export const signedIn = () => sessionStorage.getItem(KEPT) !== null;

export function signIn(key) {
  sessionStorage.setItem(KEPT, key);
}

// `why` is shown where the key is asked for again.
export function signOut(why) {
  sessionStorage.removeItem(KEPT);
  for (const listener of listeners) listener(why);
}

export function onSignOut(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// API keys and JWTs are the app's to check; any other text is a key of the platform.
export function identity(key = sessionStorage.getItem(KEPT)) {
  if (key === null) return {};
  const ours = key.startsWith('sk-') || /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(key);
  return ours ? { Authorization: `Bearer ${key}` } : { 'x-functions-key': key };
}

// What went wrong, from problem details (RFC 9457) or an OpenAI error object.
export class Problem extends Error {
  constructor(status, { detail, code = null, fields = [] }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

const PLAIN = {
  0: 'The service cannot be reached. Is it running, and this device online?',
  401: 'The key is not accepted.',
  403: 'This key may not do that.',
  404: 'There is no such thing here.',
  413: 'That is too large.',
  502: 'What stands before the service cannot reach it.',
  504: 'What stands before the service waited too long for it.',
};

function problemOf(status, text) {
  let told = {};
  try {
    told = JSON.parse(text) ?? {};
  } catch {
    // No JSON: the platform's own page, or nothing.
  }
  if (told.error?.message) {
    const { message, code, param } = told.error;
    const fields = param ? [{ field: param, expected: message }] : [];
    return new Problem(status, { detail: message, code, fields });
  }
  const detail = told.detail ?? PLAIN[status] ?? `The service answered ${status}.`;
  return new Problem(status, { detail, code: told.code, fields: told.errors ?? [] });
}

// The response. Throws Problem, or AbortError when `signal` says so.
export async function ask(path, { method = 'GET', body, headers = {}, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      headers: {
        ...identity(),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { detail: PLAIN[0] });
  }
  if (response.ok) return response;
  const problem = problemOf(response.status, await response.text());
  if (response.status === 401 && signedIn()) signOut(problem.message);
  throw problem;
}

// The JSON that it answers.
export async function call(path, options) {
  return (await ask(path, options)).json();
}

// `path` with those of the parameters that are set.
export function withQuery(path, parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value || value === 0);
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
}

// Has the browser save what the API answers: a link cannot carry the key.
export async function download(path, name, options) {
  const content = await (await ask(path, options)).blob();
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Uploads a file; `told` gets the share that has been sent, from 0 to 1. fetch cannot tell it.
export function upload(file, told, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', '/v1/files');
    for (const [name, value] of Object.entries(identity())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.total && told(event.loaded / event.total);
    request.onerror = () => reject(new Problem(0, { detail: PLAIN[0] }));
    request.onload = () =>
      request.status < 300
        ? resolve(JSON.parse(request.responseText))
        : reject(problemOf(request.status, request.responseText));
    signal?.addEventListener('abort', () => request.abort());
    const form = new FormData();
    form.append('purpose', 'batch');
    form.append('file', file, file.name);
    request.send(form);
  });
}
