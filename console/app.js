// The page: who is here, where they are, and the view that shows it.
import { html, render, useEffect, useErrorBoundary, useRef, useState } from './ui.js';
import { call, onSignOut, signedIn, signOut } from './api.js';
import { Dialog } from './dialog.js';
import { announce, arrival, Empty, Title, Trouble } from './parts.js';
import { SignIn } from './signin.js';
import { Audit } from './views/audit.js';
import { Batch } from './views/batch.js';
import { Batches } from './views/batches.js';
import { Deployments } from './views/deployments.js';
import { Job } from './views/job.js';
import { Jobs } from './views/jobs.js';
import { Keys } from './views/keys.js';
import { Overview } from './views/overview.js';
import { Queue, Queues } from './views/queues.js';
import { Submit } from './views/submit.js';
import { Usage } from './views/usage.js';

// [name, view, view of one, title, icon, whether it takes the role `operate`]
const VIEWS = [
  ['overview', Overview, null, 'Overview', 'M4 13a8 8 0 0 1 16 0M12 13l4-4M4 18h16'],
  ['submit', Submit, Submit, 'Submit', 'M4 12h13M12 6l6 6-6 6'],
  ['jobs', Jobs, Job, 'Jobs', 'M5 6h14M5 12h14M5 18h9'],
  ['batches', Batches, Batch, 'Batches', 'M4 8l8-4 8 4-8 4zM4 12l8 4 8-4M4 16l8 4 8-4'],
  ['usage', Usage, null, 'Usage', 'M5 19V11M12 19V5M19 19v-6M3 21h18'],
  [
    'deployments',
    Deployments,
    null,
    'Deployments',
    'M3 8c4-3 6-3 9 0s5 3 9 0M3 16c4-3 6-3 9 0s5 3 9 0',
    true,
  ],
  ['queues', Queues, Queue, 'Queues', 'M4 5h16v5H4zM4 14h16v5H4zM8 7.5h3M8 16.5h3', true],
  ['keys', Keys, null, 'Keys', 'M14 10a4 4 0 1 0-3 4l2 0 0 3 3 0 0 3 4 0 0-4z', true],
  ['audit', Audit, null, 'Audit', 'M6 4h12v16H6zM9 9h6M9 13h6M9 17h3', true],
];
const FIRST = 'overview';

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function place() {
  const [path, query] = window.location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/').map(decoded);
  return { name: name || FIRST, id: rest.join('/') || null, query: new URLSearchParams(query) };
}

// What the key is for; asked once, so that nobody is led to what they may not see.
function useOperates(signed) {
  const [operates, setOperates] = useState(true);
  useEffect(() => {
    if (!signed) return;
    call('/v1/deployments').then(
      () => setOperates(true),
      (problem) => setOperates(problem.status !== 403),
    );
  }, [signed]);
  return operates;
}

const Icon = ({ path }) => html`<svg viewBox="0 0 24 24" class="icon" aria-hidden="true">
  <path d=${path} /></svg>`;

function Navigation({ here, operates, open, close }) {
  const shown = VIEWS.filter(([, , , , , operator]) => operates || !operator);
  return html`<nav aria-label="Main" id="nav" class=${open ? 'open' : ''}>
    <ul>${shown.map(
      ([name, , , title, icon]) => html`<li key=${name}>
      <a href=${`#/${name}`} aria-current=${here === name ? 'page' : undefined} onClick=${close}>
        <${Icon} path=${icon} />${title}</a></li>`,
    )}</ul>
    <button type="button" class="quiet" onClick=${() => signOut('')}>Sign out</button>
  </nav>`;
}

const Lost = () => html`<${Title}>Nothing here</${Title}>
  <${Empty} title="There is no such page">Take one of the menu.</${Empty}>`;

// A view that has a fault says so; the others still work.
function Guarded({ children }) {
  const [fault, again] = useErrorBoundary();
  if (!fault) return children;
  return html`<${Title}>This view has failed</${Title}>
    <${Trouble} problem=${fault}><p>What the service answered is not what was expected of it: this page may be
      older than the service. Load it anew.</p></${Trouble}>
    <div class="buttons"><button type="button" onClick=${again}>Try again</button></div>`;
}

function App() {
  const [signed, setSigned] = useState(signedIn());
  const [why, setWhy] = useState('');
  const [here, setHere] = useState(place());
  const [open, setOpen] = useState(false);
  const main = useRef(null);
  const operates = useOperates(signed);
  useEffect(
    () =>
      onSignOut((reason) => {
        setWhy(reason);
        setSigned(false);
      }),
    [],
  );
  useEffect(() => {
    const move = () => {
      arrival.due = true;
      setHere(place());
    };
    window.addEventListener('hashchange', move);
    return () => window.removeEventListener('hashchange', move);
  }, []);
  const found = VIEWS.find(([name]) => name === here.name);
  const title = found ? found[3] : 'Nothing here';
  const at = `${here.name}/${here.id}`;
  useEffect(() => {
    document.title = `${title} · Sluice`;
    window.scrollTo(0, 0);
    announce(title);
  }, [at]);

  if (!signed) return html`<${SignIn} why=${why} done=${() => setSigned(true)} />`;
  const View = found ? ((here.id ? found[2] : found[1]) ?? Lost) : Lost;
  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>Skip to the content</a>
    <div class="frame">
      <header class="side">
        <div class="brand">
          <a href="#/"><img src="/console/icon.svg" alt="" width="30" height="30" />Sluice</a>
          <button type="button" class="menu quiet" aria-expanded=${open} aria-controls="nav"
            onClick=${() => setOpen(!open)}>Menu</button>
        </div>
        <${Navigation} here=${here.name} operates=${operates} open=${open}
          close=${() => setOpen(false)} />
      </header>
      <main id="main" ref=${main} tabindex="-1">
        <${Guarded} key=${at}><${View} id=${here.id} query=${here.query} /></${Guarded}>
      </main>
    </div>
    <${Dialog} />`;
}

render(html`<${App} />`, document.getElementById('app'));
