// Jobs, newest first; the first page is live.
import { html, useState } from '../ui.js';
import { call, withQuery } from '../api.js';
import { useNow, usePoll } from '../poll.js';
import { dateOf, duration, many, number } from '../format.js';
import { Empty, Loaded, Pill, Table, Time, Title } from '../parts.js';

const PAGE = 25;
export const ENDED = ['succeeded', 'failed', 'cancelled', 'expired'];
export const under = (job) => !ENDED.includes(job.status);
// One that waits is not looked at each second: it says itself when it goes on.
export const moves = (job) => under(job) && job.status !== 'waiting_for_capacity';

export function Jobs() {
  const [pages, setPages] = useState([null]);
  const after = pages.at(-1);
  const jobs = usePoll(
    (signal) => call(withQuery('/v1/jobs', { limit: PAGE, after }), { signal }),
    [after],
    ({ data }) => after === null && data.some(moves),
  );
  return html`<${Title} lead="Newest first. What is under way moves by itself."
      aside=${html`<a class="button main" href="#/submit">Submit a job</a>`}>Jobs</${Title}>
    <${Loaded} of=${jobs}>${({ data, has_more, next_after }) => html`
      ${
        data.length === 0 && after === null
          ? html`<${Empty} title="No job yet"><a href="#/submit">Submit one</a>, or send a message to
            the queue <code>inference-requests</code>.</${Empty}>`
          : html`<${Counts} jobs=${data} /><${List} jobs=${data} />`
      }
      <div class="buttons">
        ${pages.length > 1 && html`<button type="button" onClick=${() => setPages([null])}>Newest</button>`}
        ${
          has_more &&
          html`<button type="button"
          onClick=${() => setPages([...pages, next_after])}>Older</button>`
        }
      </div>`}
    </${Loaded}>`;
}

function Counts({ jobs }) {
  const counts = {};
  for (const { status } of jobs) counts[status] = (counts[status] ?? 0) + 1;
  return html`<p class="counts" aria-label="Of the jobs shown">
    ${Object.entries(counts).map(
      ([status, count]) => html`<span key=${status}>
      <${Pill} state=${status} /> ${number(count)}</span>`,
    )}</p>`;
}

function List({ jobs }) {
  const now = useNow(jobs.some(under));
  const head = [
    'Job',
    'State',
    ['Accepted', 'wide'],
    ['Took', 'right'],
    ['Calls', 'right wide'],
    ['Tokens', 'right wide'],
  ];
  return html`<${Table} label="Jobs" head=${head}>${jobs.map(
    (job) => html`<tr key=${job.id}>
    <td><a href=${`#/jobs/${job.id}`}>${job.flow}</a>${job.model && html` <small>${job.model}</small>`}
      <br /><small><code>…${job.id.slice(-8)}</code></small></td>
    <td><${Pill} state=${job.status} /></td>
    <td class="wide"><${Time} at=${job.created_at} /></td>
    <td class="right">${duration(taken(job, now))}</td>
    <td class="right wide">${number(job.progress.attempts)}
      ${job.progress.waits > 0 && html` <small>${many(job.progress.waits, 'wait')}</small>`}</td>
    <td class="right wide">${number(job.usage.input_tokens + job.usage.output_tokens)}</td>
  </tr>`,
  )}</${Table}>`;
}

// Seconds from acceptance to the end, or until now.
export function taken(job, now) {
  const end = job.ended_at ? dateOf(job.ended_at) : now;
  return Math.max(0, (end - dateOf(job.created_at)) / 1000);
}
