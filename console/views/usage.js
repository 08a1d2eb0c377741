// Who used what, and what it cost.
import { html, useState } from '../ui.js';
import { call, download, withQuery } from '../api.js';
import { usePoll } from '../poll.js';
import { duration, money, number, percent, short } from '../format.js';
import { Empty, Facts, Loaded, Table, Title, Trouble, useDeed } from '../parts.js';
import { colour, Columns } from '../plots.js';

const BY = { tenant: 'Tenant', model: 'Model', deployment: 'Deployment', flow: 'Flow' };
const MOST_NAMES = 8;
const OTHERS = 'others';
const NONE = { flow: 'no flow', tenant: 'nobody: idle time' };
const DAY_MS = 86_400_000;

const iso = (date) => date.toISOString().slice(0, 10);
const dayAfter = (day) => iso(new Date(Date.parse(day) + DAY_MS));

export function Usage() {
  const [since, setSince] = useState(iso(new Date(Date.now() - 6 * DAY_MS)));
  const [last, setLast] = useState(iso(new Date()));
  const [by, setBy] = useState('model');
  const [measure, setMeasure] = useState('cost');
  const period = since && last ? { from: since, to: dayAfter(last) } : {};
  const load = async (signal) => {
    const asked = (group_by) => call(withQuery('/v1/usage', { ...period, group_by }), { signal });
    const [days, groups, whole] = await Promise.all([asked(`day,${by}`), asked(by), asked('')]);
    return { days: days.data, groups: groups.data, whole: whole.data, from: days.from, to: days.to };
  };
  const usage = usePoll(load, [since, last, by]);
  const [save, saving, problem] = useDeed(() =>
    download(
      withQuery('/v1/usage', { ...period, group_by: `day,tenant,${by}`, format: 'csv' }),
      `usage-${since}-${last}.csv`,
    ),
  );
  const date = (event, set) => event.target.value && set(event.target.value);
  return html`<${Title} lead="Each call once, as the ledger keeps it. Days are in UTC."
      aside=${html`<button type="button" disabled=${saving} onClick=${save}>Download CSV</button>`}>Usage</${Title}>
    <form class="card controls" onSubmit=${(event) => event.preventDefault()}>
      <span><label for="u-from">From</label> <input id="u-from" type="date" value=${since}
        max=${last} onChange=${(event) => date(event, setSince)} /></span>
      <span><label for="u-to">To</label> <input id="u-to" type="date" value=${last}
        min=${since} onChange=${(event) => date(event, setLast)} /></span>
      <span><label for="u-by">By</label> <select id="u-by" value=${by} onChange=${(event) => setBy(event.target.value)}>
        ${Object.entries(BY).map(([name, label]) => html`<option value=${name}>${label}</option>`)}</select></span>
      <span><label for="u-of">Of</label> <select id="u-of" value=${measure}
        onChange=${(event) => setMeasure(event.target.value)}>
        ${Object.entries(MEASURES).map(([name, { label }]) => html`<option value=${name}>${label}</option>`)}
      </select></span>
    </form>
    <${Trouble} problem=${problem} />
    <${Loaded} of=${usage}>${(data) => html`<${Report} data=${data} by=${by} measure=${measure} />`}</${Loaded}>`;
}

const MEASURES = {
  cost: { label: 'Cost', of: (row) => Number(row.cost), format: (value, row) => money(value, row?.currency) },
  requests: { label: 'Requests', of: (row) => row.requests, format: short },
  tokens: { label: 'Tokens', of: (row) => row.input_tokens + row.output_tokens, format: short },
};

function Report({ data, by, measure }) {
  const { groups, whole } = data;
  if (groups.length === 0) {
    return html`<${Empty} title="Nothing was used in these days">Once jobs, calls or batches have run, what
      they used stands here. <a href="#/submit">Submit a job</a> to see.</${Empty}>`;
  }
  const priced = groups.find((row) => row.currency);
  const chosen = MEASURES[measure === 'cost' && !priced ? 'requests' : measure];
  const format = (value) => chosen.format(value, priced);
  const sorted = [...groups].sort((a, b) => chosen.of(b) - chosen.of(a));
  const names = [...new Set(sorted.map((row) => nameOf(row, by)))];
  const kept = names.length > MOST_NAMES ? [...names.slice(0, MOST_NAMES - 1), OTHERS] : names;
  return html`
    <${Totals} rows=${whole} priced=${priced} />
    ${
      measure === 'cost' &&
      !priced &&
      html`<p class="notice">No deployment has a price, so there is no cost:
      requests are shown. docs/endpoints.md says how to give them one.</p>`
    }
    <section class="card"><h2>${chosen.label} by day</h2>
      <${Columns} days=${byDay(data, by, chosen, kept)} names=${kept} format=${format}
        label=${`${chosen.label} by day and ${by}; the table below has the sums by ${by}`} /></section>
    <section class="card"><h2>By ${by}</h2>
      <${Groups} ...${{ rows: sorted, by, chosen, kept }} /></section>`;
}

const nameOf = (row, by) => (row.idle ? 'idle time' : (row[by] ?? NONE[by] ?? 'none'));

function byDay({ days, from, to }, by, measure, kept) {
  const sums = new Map();
  for (let day = from; day < to; day = dayAfter(day)) sums.set(day, {});
  for (const row of days) {
    const name = kept.includes(nameOf(row, by)) ? nameOf(row, by) : OTHERS;
    const values = sums.get(row.day);
    if (values) values[name] = (values[name] ?? 0) + measure.of(row);
  }
  return [...sums].map(([day, values]) => ({ day, values }));
}

function Totals({ rows, priced }) {
  const sum = (of) => rows.reduce((total, row) => total + of(row), 0);
  const requests = sum((row) => row.requests);
  const answered = sum((row) => row.outcomes.answered ?? 0);
  return html`<${Facts} of=${[
    priced && [
      'Cost',
      money(
        sum((row) => Number(row.cost)),
        priced.currency,
      ),
    ],
    ['Requests', number(requests)],
    ['Answered', requests ? percent(answered / requests) : '–'],
    ['Input tokens', short(sum((row) => row.input_tokens))],
    ['Output tokens', short(sum((row) => row.output_tokens))],
    ['Time at models', duration(sum((row) => row.seconds))],
  ]} />`;
}

function Groups({ rows, by, chosen, kept }) {
  const all = rows.reduce((sum, row) => sum + chosen.of(row), 0) || 1;
  const place = (name) => colour(kept.includes(name) ? kept.indexOf(name) : kept.indexOf(OTHERS));
  const head = [
    BY[by],
    [`Share of ${chosen.label.toLowerCase()}`, 'wide'],
    ['Requests', 'right'],
    ['Tokens in', 'right wide'],
    ['Tokens out', 'right wide'],
    ['Cost', 'right'],
  ];
  return html`<${Table} label=${`Usage by ${by}`} head=${head}>${rows.map((row) => {
    const name = nameOf(row, by);
    return html`<tr key=${`${name}${row.idle}`}>
      <th scope="row"><i class=${`dot ${place(name)}`}></i>${name}</th>
      <td class="wide bar-cell"><span class="progress"><i class=${place(name)}
        style=${{ width: `${(100 * chosen.of(row)) / all}%` }}></i></span></td>
      <td class="right">${number(row.requests)}</td>
      <td class="right wide">${number(row.input_tokens)}</td>
      <td class="right wide">${number(row.output_tokens)}</td>
      <td class="right" title=${row.currency ? `${row.cost} ${row.currency}` : undefined}>${
        row.currency ? money(row.cost, row.currency) : '–'
      }</td>
    </tr>`;
  })}</${Table}>`;
}
