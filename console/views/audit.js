// The audit log: who did what, newest first.
import { html, useState } from '../ui.js';
import { call, withQuery } from '../api.js';
import { usePoll } from '../poll.js';
import { Empty, Loaded, Pill, Table, Time, Title } from '../parts.js';

const PAGE = 50;
const ACTIONS = [
  'key.issued',
  'key.rotated',
  'key.revoked',
  'deployment.steered',
  'rollout.started',
  'rollout.advanced',
  'rollout.cancelled',
  'rollout.ended',
  'job.cancelled',
  'batch.cancelled',
  'batch.retried',
  'file.deleted',
  'callers.refused',
  'messages.read',
  'message.resubmitted',
  'message.deleted',
  'queue.purged',
];

export function Audit() {
  const [action, setAction] = useState('');
  const [pages, setPages] = useState([null]);
  const after = pages.at(-1);
  const events = usePoll(
    (signal) => call(withQuery('/v1/audit', { limit: PAGE, action, after }), { signal }),
    [action, after],
  );
  return html`<${Title} lead="The last 30 days. Each event is written before the deed, and never changed.">
      Audit</${Title}>
    <form class="card controls" onSubmit=${(event) => event.preventDefault()}>
      <span><label for="a-of">Of</label> <select id="a-of" value=${action} onChange=${(event) => {
        setAction(event.target.value);
        setPages([null]);
      }}>
        <option value="">everything</option>
        ${ACTIONS.map((each) => html`<option>${each}</option>`)}</select></span>
    </form>
    <${Loaded} of=${events}>${({ data, has_more, next_after }) => html`
      ${
        data.length === 0
          ? html`<${Empty} title="Nothing yet">Keys, weights, rollouts, cancellations and refused callers are
            noted here.</${Empty}>`
          : html`<${List} events=${data} />`
      }
      <div class="buttons">
        ${pages.length > 1 && html`<button type="button" onClick=${() => setPages([null])}>Newest</button>`}
        ${has_more && html`<button type="button" onClick=${() => setPages([...pages, next_after])}>Older</button>`}
      </div>`}</${Loaded}>`;
}

function List({ events }) {
  const head = ['When', 'Who', 'What', 'To', ['Outcome', 'wide'], 'Detail'];
  return html`<${Table} label="Events" head=${head}>${events.map(
    (event) => html`<tr key=${event.id}>
    <td><${Time} at=${event.at} /></td>
    <td><code>${event.subject}</code>${event.tenant && html`<br /><small>${event.tenant}</small>`}</td>
    <td>${event.action}</td>
    <td><code>${event.target.length > 24 ? `…${event.target.slice(-12)}` : event.target}</code></td>
    <td class="wide"><${Pill} state=${event.outcome} /></td>
    <td>${Object.entries(event.detail)
      .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(', ') : value}`)
      .join('; ')}</td>
  </tr>`,
  )}</${Table}>`;
}
