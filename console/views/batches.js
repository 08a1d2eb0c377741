// Batches, newest first, and a new one from a file.
import { html, useState } from '../ui.js';
import { call, upload, withQuery } from '../api.js';
import { usePoll } from '../poll.js';
import { bytes, number, percent } from '../format.js';
import { announce, Empty, Loaded, Pill, Table, Time, Title, Trouble, useDeed } from '../parts.js';

const PAGE = 20;
const ENDPOINTS = ['/v1/chat/completions', '/v1/embeddings', '/v1/responses', '/v1/jobs'];
const PEEK_BYTES = 1_000_000;
const ENDED = ['failed', 'completed', 'expired', 'cancelled'];
// `chat completions`, so that it can be broken into lines.
export const doorOf = ({ endpoint }) => endpoint.replace('/v1/', '').replace('/', ' ');
export const going = (batch) => !ENDED.includes(batch.status);

export function Batches() {
  const [pages, setPages] = useState([null]);
  const after = pages.at(-1);
  const batches = usePoll(
    (signal) => call(withQuery('/v1/batches', { limit: PAGE, after }), { signal }),
    [after],
    ({ data }) => after === null && data.some(going),
  );
  return html`<${Title} lead="A file of lines, each one a request. They take what other calls leave free.">
      Batches</${Title}>
    <${Upload} />
    <${Loaded} of=${batches}>${({ data, has_more, last_id }) => html`
      ${
        data.length === 0 && after === null
          ? html`<${Empty} title="No batch yet">Choose a file above: JSON Lines as OpenAI’s batches have
            them, or jobs for any flow. docs/batches.md has examples.</${Empty}>`
          : html`<${List} batches=${data} />`
      }
      <div class="buttons">
        ${pages.length > 1 && html`<button type="button" onClick=${() => setPages([null])}>Newest</button>`}
        ${has_more && html`<button type="button" onClick=${() => setPages([...pages, last_id])}>Older</button>`}
      </div>`}
    </${Loaded}>`;
}

function Upload() {
  const [file, setFile] = useState(null);
  const [endpoint, setEndpoint] = useState(ENDPOINTS[0]);
  const [share, setShare] = useState('');
  const [sent, setSent] = useState(null);
  const [over, setOver] = useState(false);
  const [go, busy, problem] = useDeed(async () => {
    setSent(0);
    try {
      const stored = await upload(file, setSent);
      const batch = await call('/v1/batches', {
        method: 'POST',
        headers: { 'Idempotency-Key': stored.id },
        body: {
          input_file_id: stored.id,
          endpoint,
          completion_window: '24h',
          metadata: { filename: file.name.slice(0, 512) },
          ...(share === '' ? {} : { max_failed_share: Number(share) / 100 }),
        },
      });
      announce('The batch was accepted');
      window.location.hash = `#/batches/${batch.id}`;
    } finally {
      setSent(null);
    }
  });

  async function choose(chosen) {
    setFile(chosen ?? null);
    const url = chosen && (await firstUrl(chosen));
    if (url) setEndpoint(url);
  }

  return html`<form class="card" onSubmit=${(event) => {
    event.preventDefault();
    if (file && !busy) go();
  }}>
    <h2>New batch</h2>
    <${Trouble} problem=${problem} />
    <div class=${over ? 'drop over' : 'drop'}
      onDragOver=${(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave=${() => setOver(false)}
      onDrop=${(event) => {
        event.preventDefault();
        setOver(false);
        choose(event.dataTransfer.files[0]);
      }}>
      <label for="batch-file">File of lines (.jsonl)</label>
      <input id="batch-file" type="file" accept=".jsonl,.ndjson,.json,application/jsonl"
        onChange=${(event) => choose(event.target.files[0])} />
      <p class="help" aria-live="polite">
        ${file ? html`<b>${file.name}</b>, ${bytes(file.size)}` : 'Or drop it here.'}</p>
    </div>
    <div class="columns">
      <div class="field"><label for="batch-endpoint">Lines are for</label>
        <select id="batch-endpoint" value=${endpoint} onChange=${(event) => setEndpoint(event.target.value)}>
          ${ENDPOINTS.map((each) => html`<option>${each}</option>`)}</select></div>
      <div class="field"><label for="batch-share">Stop when so many lines fail (%)</label>
        <input id="batch-share" type="number" min="1" max="100" step="1" placeholder="never" value=${share}
          onInput=${(event) => setShare(event.target.value)} /></div>
    </div>
    ${
      sent !== null &&
      html`<div class="field"><label for="sent">Sending the file: ${percent(sent)}</label>
      <progress id="sent" value=${sent} max="1"></progress></div>`
    }
    <div class="buttons"><button class="main" disabled=${!file || busy}>
      ${busy ? 'Starting …' : 'Start batch'}</button></div>
  </form>`;
}

// What the first line says that it is for; null when it does not tell.
async function firstUrl(file) {
  try {
    const [line] = (await file.slice(0, PEEK_BYTES).text()).split('\n');
    const { url } = JSON.parse(line);
    return ENDPOINTS.includes(url) ? url : null;
  } catch {
    return null;
  }
}

// How far a batch is, by lines; `role` and value tell those who do not see it.
export function Bar({ batch, large }) {
  const { total, completed, failed } = batch.request_counts;
  const share = total ? (completed + failed) / total : 0;
  return html`<div class=${large ? 'progress large' : 'progress'} role="progressbar" aria-valuemin="0"
      aria-valuemax=${total || 1} aria-valuenow=${completed + failed}
      aria-label=${`${number(completed + failed)} of ${number(total)} lines have ended, ${number(failed)} failed`}>
    <i class="good" style=${{ width: `${total ? (100 * completed) / total : 0}%` }}></i>
    <i class="bad" style=${{ width: `${total ? (100 * failed) / total : 0}%` }}></i>
    ${large && html`<b>${percent(share)}</b>`}
  </div>`;
}

function List({ batches }) {
  const head = [
    'Batch',
    'State',
    'Progress',
    ['Lines', 'right'],
    ['Failed', 'right'],
    ['For', 'wide'],
    ['Accepted', 'wide'],
  ];
  return html`<${Table} label="Batches" head=${head}>${batches.map(
    (batch) => html`<tr key=${batch.id}>
    <td><a href=${`#/batches/${batch.id}`}>${
      batch.metadata?.filename ?? html`<code>…${batch.id.slice(-8)}</code>`
    }</a></td>
    <td><${Pill} state=${batch.status} /></td>
    <td class="bar-cell"><${Bar} batch=${batch} /></td>
    <td class="right">${number(batch.request_counts.total)}</td>
    <td class="right">${number(batch.request_counts.failed)}</td>
    <td class="wide">${batch.model ?? doorOf(batch)}</td>
    <td class="wide"><${Time} at=${batch.created_at} /></td>
  </tr>`,
  )}</${Table}>`;
}
