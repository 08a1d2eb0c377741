// Pieces that several views are made of.
import { html, useEffect, useLayoutEffect, useRef, useState } from './ui.js';
import { clock, whole, words } from './format.js';

// For those who do not see what has changed.
export function announce(text) {
  document.getElementById('live').textContent = text;
}

const TONES = {
  good: ['succeeded', 'completed', 'ready', 'answered', 'active', 'done', 'accepted'],
  busy: ['running', 'in_progress', 'validating', 'finalizing', 'queued', 'pending'],
  warn: [
    'waiting_for_capacity',
    'cancelling',
    'full',
    'rate_limited',
    'cooling',
    'stalled',
    'half_open',
    'throttled',
    'retiring',
    'rolled_back',
    'unknown',
  ],
  bad: ['failed', 'expired', 'open', 'unusable', 'rejected', 'not_connected'],
};

export function tone(state) {
  return Object.keys(TONES).find((name) => TONES[name].includes(state)) ?? 'calm';
}

export const Pill = ({ state }) => html`<span class=${`pill ${tone(state)}`}>${words(state)}</span>`;

export const Time = ({ at }) =>
  at === null || at === undefined
    ? '–'
    : html`<time datetime=${typeof at === 'number' ? new Date(at * 1000).toISOString() : at}
        title=${whole(at)}>${clock(at)}</time>`;

// Set when somebody goes to another view: its title takes the focus as soon as it is there.
export const arrival = { due: false };

export function Title({ children, lead, aside }) {
  const heading = useRef(null);
  useLayoutEffect(() => {
    if (arrival.due) heading.current.focus({ preventScroll: true });
    arrival.due = false;
  }, []);
  return html`<header class="title">
    <div><h1 ref=${heading} tabindex="-1">${children}</h1>${lead && html`<p>${lead}</p>`}</div>
    ${aside && html`<div class="buttons">${aside}</div>`}
  </header>`;
}

const HEADINGS = {
  0: 'No connection',
  403: 'Not allowed with this key',
  404: 'Not there',
  409: 'Not possible now',
  429: 'Too much at the moment',
  503: 'Not ready',
};

// What the API refused, in its own words.
export function Trouble({ problem, children }) {
  if (!problem) return null;
  return html`<div class="trouble" role="alert">
    <strong>${HEADINGS[problem.status] ?? 'That did not work'}</strong>
    <p>${problem.message}${problem.code && html` <code>${problem.code}</code>`}</p>
    ${children}
  </div>`;
}

// A poll's outcome: its data by `children(data)`, or what stands in its way.
export function Loaded({ of, children }) {
  const { data, problem } = of;
  return html`<${Trouble} problem=${problem} />
    ${
      data !== undefined
        ? children(data)
        : !problem &&
          html`<div class="skeleton"
      role="status" aria-label="Loading"><i></i><i></i><i></i></div>`
    }`;
}

export const Empty = ({ title, children }) => html`<div class="empty">
  <svg viewBox="0 0 64 44" aria-hidden="true"><path d="M4 12c9-7 19-7 28 0s19 7 28 0" /><path
    d="M4 24c9-7 19-7 28 0s19 7 28 0" /><path d="M4 36c9-7 19-7 28 0s19 7 28 0" /></svg>
  <strong>${title}</strong><p>${children}</p>
</div>`;

// A wide table scrolls within itself, by keyboard too.
export const Table = ({ label, head, children }) => html`<div class="scroll" role="region"
    aria-label=${label} tabindex="0">
  <table>
    <thead><tr>${head.map((each) => {
      const [text, kind] = Array.isArray(each) ? each : [each, ''];
      return html`<th scope="col" class=${kind}>${text}</th>`;
    })}</tr></thead>
    <tbody>${children}</tbody>
  </table>
</div>`;

export const Facts = ({ of }) => html`<dl class="facts">
  ${of.filter(Boolean).map(
    ([name, value, more]) => html`<div>
    <dt>${name}</dt><dd>${value}${more && html` <small>${more}</small>`}</dd>
  </div>`,
  )}
</dl>`;

export function Copy({ text, label = 'Copy' }) {
  const [done, setDone] = useState(false);
  // Browsers have none for pages that came without TLS.
  const { clipboard } = navigator;
  async function copy() {
    await clipboard.writeText(text);
    setDone(true);
    announce('Copied');
  }
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    clipboard &&
    html`<button type="button" class="small quiet" onClick=${copy}>
    ${done ? 'Copied' : label}</button>`
  );
}

export const Id = ({ children }) => html`<span class="id"><code>${children}</code><${Copy}
  text=${children} /></span>`;

// Something that is done once at a time: [go, busy, problem].
export function useDeed(deed) {
  const [state, setState] = useState({ busy: false });
  async function go(...given) {
    setState({ busy: true });
    try {
      await deed(...given);
      setState({ busy: false });
    } catch (problem) {
      setState({ busy: false, problem });
    }
  }
  return [go, state.busy, state.problem];
}

// The width that an element has, so that drawings keep their letters' size: [ref, pixels].
export function useWidth(first) {
  const element = useRef(null);
  const [width, setWidth] = useState(first);
  useLayoutEffect(() => {
    const measure = () => setWidth(Math.max(240, Math.floor(element.current.clientWidth)));
    const watcher = new ResizeObserver(measure);
    watcher.observe(element.current);
    measure();
    return () => watcher.disconnect();
  }, []);
  return [element, width];
}
