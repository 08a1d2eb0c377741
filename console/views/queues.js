// The queues of Service Bus: how much waits, what is in a message, and its way back.
import { html, useState } from '../ui.js';
import { call, withQuery } from '../api.js';
import { confirm } from '../dialog.js';
import { useNow, usePoll } from '../poll.js';
import { bytes, dateOf, duration, number } from '../format.js';
import { announce, Empty, Facts, Id, Loaded, Table, Time, Title, Trouble, useDeed } from '../parts.js';

const PAGE = 25;
const REJECTED = 'inference-rejected';
const DEAD = 'dead-letters';

const WHAT = {
  'inference-requests': 'What producers send: each message a job or a batch.',
  'inference-results': 'What came of them, for producers that do not name a queue of their own.',
  [REJECTED]: 'What can never be a job, with the reason.',
};
// Only what has been put aside may be taken out: the rest is on its way to be worked on.
const aside = (place) => place.dead || place.name === REJECTED;
const pathOf = (place) => `#/queues/${place.name}${place.dead ? `/${DEAD}` : ''}`;
const count = ({ messages, more }) => `${number(messages)}${more ? '+' : ''}`;

export function Queues() {
  const queues = usePoll((signal) => call('/v1/queues', { signal }), []);
  return html`<${Title} lead="Rejected messages can be no job; dead letters could not be taken up ten times. Both
      wait until somebody looks.">Queues</${Title}>
    <${Loaded} of=${queues}>${({ data }) => html`<${List} queues=${data} />`}</${Loaded}>`;
}

function List({ queues }) {
  const now = useNow(true);
  return html`<ul class="queues">${queues.map(
    (queue) => html`<li class="card" key=${queue.name}>
    <h2>${queue.name}</h2>
    <div><p class="help">${WHAT[queue.name] ?? ''}</p>
      ${queue.problem && html`<p class="wrong">${queue.problem}</p>`}</div>
    <div class="pair">
      <${Waiting} place=${{ name: queue.name, dead: false }} of=${queue.waiting} now=${now}>waiting</${Waiting}>
      <${Waiting} place=${{ name: queue.name, dead: true }} of=${queue.dead_letters} now=${now}>
        dead letters</${Waiting}>
    </div></li>`,
  )}</ul>`;
}

function Waiting({ place, of, now, children }) {
  const oldest = of?.oldest_enqueued_at;
  return html`<a href=${pathOf(place)} class=${aside(place) && of?.messages > 0 ? 'amount bad' : 'amount'}>
    <b>${of ? count(of) : '–'}</b><span>${children}</span>
    <small>${oldest ? `oldest ${duration(Math.max(0, (now - dateOf(oldest)) / 1000))}` : 'none'}</small></a>`;
}

export function Queue({ id }) {
  const [name, rest] = id.split('/');
  const place = { name, dead: rest === DEAD };
  const query = place.dead ? { dead_letters: 'true' } : {};
  const base = `/v1/queues/${encodeURIComponent(name)}`;
  const [pages, setPages] = useState([0]);
  const [told, setTold] = useState(null);
  const from = pages.at(-1);
  const messages = usePoll(
    (signal) => call(withQuery(`${base}/messages`, { ...query, from, limit: PAGE }), { signal }),
    [id, from],
  );
  const [purge, purging, problem] = useDeed(async () => {
    const yes = await confirm({
      title: 'Delete all of these messages?',
      danger: true,
      action: 'Purge',
      typed: name,
      text: `Everything that waits ${place.dead ? 'among the dead letters of' : 'in'} ${name}. Nothing is kept of it.`,
    });
    if (!yes) return;
    const path = withQuery(`${base}/purge`, query);
    const { purged, more } = await call(path, { method: 'POST', body: { confirm: name } });
    setTold(`${number(purged)} deleted${more ? ', and there are more' : ''}.`);
    announce(`${purged} messages were deleted`);
    await messages.refresh();
  });
  return html`<${Title} lead=${html`<a href="#/queues">All queues</a>`}
      aside=${
        aside(place) &&
        messages.data?.data.length > 0 &&
        html`<button type="button" class="danger"
        disabled=${purging} onClick=${purge}>Purge</button>`
      }>
      ${name}${place.dead && ': dead letters'}</${Title}>
    <${Trouble} problem=${problem} />
    ${told && html`<div class="notice good" role="status">${told}</div>`}
    <${Loaded} of=${messages}>${({ data, has_more, next_from }) => html`
      ${
        data.length === 0
          ? html`<${Empty} title="No message">${
              aside(place)
                ? 'Good: nothing was put aside here.'
                : 'Nothing waits. Messages that are worked on are not shown.'
            }</${Empty}>`
          : data.map(
              (message) => html`<${Message} key=${message.sequence} ...${{ message, place, base, query }}
            done=${(text) => {
              setTold(text);
              messages.refresh();
            }} />`,
            )
      }
      <div class="buttons">
        ${pages.length > 1 && html`<button type="button" onClick=${() => setPages([0])}>First</button>`}
        ${has_more && html`<button type="button" onClick=${() => setPages([...pages, next_from])}>Further</button>`}
      </div>`}</${Loaded}>`;
}

function Message({ message, place, base, query, done }) {
  const path = `${base}/messages/${message.sequence}`;
  const [body, setBody] = useState(null);
  const [look, looking, unseen] = useDeed(async () => {
    const asked = { ...query, from: message.sequence, limit: 1, body: 'true' };
    const { data } = await call(withQuery(`${base}/messages`, asked));
    setBody(data.find((each) => each.sequence === message.sequence) ?? { body: 'It is gone.' });
  });
  const [resubmit, sending, refused] = useDeed(async () => {
    const yes = await confirm({
      title: 'Send this message on its way again?',
      action: 'Resubmit',
      text: 'What it asks for is started, once, and the message is removed. If it still cannot be, it stays.',
    });
    if (!yes) return;
    const sent = await call(withQuery(`${path}/resubmit`, query), { method: 'POST' });
    const what = sent.started
      ? html`It started <a href=${`#/${sent.started === 'job' ? 'jobs' : 'batches'}/${sent.id}`}>
      the ${sent.started} ${sent.id}</a> of ${sent.tenant}.`
      : `It was sent to ${sent.sent_to} again.`;
    announce('The message was resubmitted');
    done(what);
  });
  const [remove, removing, kept] = useDeed(async () => {
    const yes = await confirm({
      title: 'Delete this message?',
      danger: true,
      action: 'Delete',
      text: 'Nothing is kept of it.',
    });
    if (!yes) return;
    await call(withQuery(path, query), { method: 'DELETE' });
    announce('The message was deleted');
    done('The message was deleted.');
  });
  const { properties } = message;
  const why = message.dead_letter_description ?? message.dead_letter_reason ?? properties.reason;
  return html`<article class="card" aria-label=${`Message ${message.sequence}`}>
    <div class="row"><h2>${properties.code ?? message.dead_letter_reason ?? `Message ${message.sequence}`}</h2>
      <span><${Time} at=${message.enqueued_at} /></span></div>
    ${why && html`<p>${why}</p>`}
    <p><${Id}>${message.message_id ?? String(message.sequence)}</${Id}></p>
    <${Trouble} problem=${refused ?? kept ?? unseen} />
    <${Facts} of=${[
      ['Number', number(message.sequence)],
      ['Deliveries', number(message.delivery_count)],
      ['Body', bytes(message.body_bytes)],
      message.reply_to && ['Reply to', message.reply_to],
      message.state !== 'active' && ['State', message.state],
    ]} />
    ${
      Object.keys(properties).length > 0 &&
      html`<details><summary>Properties</summary>
      <${Table} label="Properties" head=${['Name', 'Value']}>${Object.entries(properties).map(
        ([name, value]) => html`
        <tr key=${name}><td><code>${name}</code></td><td>${String(value)}</td></tr>`,
      )}</${Table}></details>`
    }
    ${
      body &&
      html`<pre class="scroll" tabindex="0" role="region" aria-label="Body">${
        body.body ?? body.body_base64
      }${body.body_cut && ' …'}</pre>`
    }
    <div class="buttons">
      ${
        !body &&
        html`<button type="button" disabled=${looking} onClick=${look}>Show the body</button>
        <small>The audit log tells that you did.</small>`
      }
      ${
        aside(place) &&
        html`<button type="button" class="main" disabled=${sending} onClick=${resubmit}>Resubmit</button>
        <button type="button" class="danger" disabled=${removing} onClick=${remove}>Delete</button>`
      }
    </div>
  </article>`;
}
