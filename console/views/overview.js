// What an operator wants to know first: is anything wrong, and what moves.
import { html } from '../ui.js';
import { call, withQuery } from '../api.js';
import { usePoll } from '../poll.js';
import { many, money, number, percent, short, words } from '../format.js';
import { Empty, Pill, Table, Time, Title, Trouble } from '../parts.js';
import { Picture } from '../picture.js';
import { Bar, going } from './batches.js';
import { moves, under } from './jobs.js';

const JOBS = 50;
const FAILURES = 5;
const STUCK = 20;
const SECONDS = 3;
const BAD = ['open', 'unusable', 'stalled'];
const today = () => new Date().toISOString().slice(0, 10);

// Who may not see a part of it is not told of that part.
function usePart(path, moving) {
  const part = usePoll((signal) => call(path, { signal }), [path], moving, SECONDS);
  return part.problem?.status === 403 ? { hidden: true } : part;
}

export function Overview() {
  const jobs = usePart(withQuery('/v1/jobs', { limit: JOBS }), ({ data }) => data.some(moves));
  const batches = usePart('/v1/batches?limit=20', ({ data }) => data.some(going));
  const usage = usePart(withQuery('/v1/usage', { from: today(), group_by: 'tenant' }));
  const deployments = usePart('/v1/deployments', (all) => all.deployments.some((each) => each.in_flight > 0));
  const queues = usePart('/v1/queues');
  const stuck = usePart('/v1/operations/stuck');
  const parts = [jobs, batches, usage, deployments, queues, stuck];
  // Without a Service Bus there is nothing to tell of queues.
  const problem = parts.find((part) => part.problem && part.problem.status !== 409)?.problem;
  return html`<${Title} lead="What moves now, and what has gone wrong."
      aside=${html`<a class="button main" href="#/submit">Submit a job</a>`}>Overview</${Title}>
    <${Trouble} problem=${problem} />
    ${
      parts.some((part) => part.data) || problem
        ? html`<div class="tiles">
          <${Jobs} of=${jobs.data} /><${Batches} of=${batches.data} />
          <${Ailing} of=${deployments.data} /><${Aside} of=${queues.data} />
          <${StuckTile} of=${stuck.data} /><${Today} of=${usage.data} /></div>
        <${Stuck} of=${stuck.data} />
        <${Moving} of=${batches.data} />
        <${Models} of=${deployments.data} />
        <${Failures} of=${jobs.data} />`
        : html`<div class="skeleton" role="status" aria-label="Loading"><i></i><i></i><i></i></div>`
    }`;
}

const Tile = ({
  href,
  label,
  more,
  bad,
  children,
}) => html`<a class=${bad ? 'tile bad' : 'tile'} href=${href}>
  <span>${label}</span><b>${children}</b><small>${more}</small></a>`;

function Jobs({ of }) {
  if (!of) return null;
  const waiting = of.data.filter((job) => job.status === 'waiting_for_capacity').length;
  const failed = of.data.filter((job) => job.status === 'failed').length;
  return html`<${Tile} href="#/jobs" label="Active jobs" more=${[
    waiting > 0 && `${number(waiting)} wait for capacity`,
    `${number(failed)} of the last ${number(of.data.length)} failed`,
  ]
    .filter(Boolean)
    .join(' · ')}>${number(of.data.filter(under).length)}</${Tile}>`;
}

function Batches({ of }) {
  if (!of) return null;
  const active = of.data.filter(going);
  const left = active.reduce(
    (sum, { request_counts: { total, completed, failed } }) => sum + Math.max(0, total - completed - failed),
    0,
  );
  return html`<${Tile} href="#/batches" label="Active batches"
    more=${active.length ? `${many(left, 'line')} left` : 'none'}>${number(active.length)}</${Tile}>`;
}

function Ailing({ of }) {
  if (!of) return null;
  const bad = of.deployments.filter((each) => BAD.includes(each.state));
  return html`<${Tile} href="#/deployments" label="Bad deployments" bad=${bad.length > 0}
    more=${bad.map((each) => each.name).join(', ') || `all ${number(of.deployments.length)} are well`}>
    ${number(bad.length)}</${Tile}>`;
}

function Aside({ of }) {
  if (!of) return null;
  const sum = (each) => each?.messages ?? 0;
  const rejected = of.data.find((queue) => queue.name === 'inference-rejected');
  const dead = of.data.reduce((all, queue) => all + sum(queue.dead_letters), 0);
  const all = sum(rejected?.waiting) + dead;
  return html`<${Tile} href="#/queues" label="Messages aside" bad=${all > 0}
    more=${`${number(sum(rejected?.waiting))} rejected · ${number(dead)} dead`}>${number(all)}</${Tile}>`;
}

const linkTo = ({ what, id }) => `#/${what === 'job' ? 'jobs' : 'batches'}/${id}`;

function StuckTile({ of }) {
  if (!of) return null;
  const more = of.swept_at ? html`looked at <${Time} at=${of.swept_at} />` : 'not looked at yet';
  const [first] = of.data;
  const seen = number(of.data.length) + (of.complete || !of.swept_at ? '' : '+');
  return html`<${Tile} href=${first ? linkTo(first) : '#/jobs'} label="Stuck work" bad=${Boolean(first)}
    more=${more}>${seen}</${Tile}>`;
}

function Stuck({ of }) {
  if (!of?.data.length) return null;
  return html`<section class="card"><h2>Stuck work</h2>
    <p class="help">The policy is to ${of.policy} it; SLUICE_STUCK sets it.</p>
    <${Table} label="Stuck work" head=${['What', 'How', 'Since', ['Tenant', 'wide'], 'Done']}>
      ${of.data.slice(0, STUCK).map(
        (each) => html`<tr key=${each.id}>
        <td><a href=${linkTo(each)}>${each.what}</a>
          ${' '}<small><code>…${each.id.slice(-8)}</code></small></td>
        <td>${words(each.kind)}</td><td><${Time} at=${each.since} /></td>
        <td class="wide">${each.tenant ?? '–'}</td><td>${each.did ?? 'reported'}</td></tr>`,
      )}</${Table}></section>`;
}

function Today({ of }) {
  if (!of) return null;
  const sum = (each) => of.data.reduce((all, row) => all + each(row), 0);
  const requests = sum((row) => row.requests);
  const tokens = sum((row) => row.input_tokens + row.output_tokens);
  const priced = of.data.find((row) => row.currency);
  return html`<${Tile} href="#/usage" label="Used today (UTC)" more=${[
    `${short(requests)} requests`,
    `${short(tokens)} tokens`,
    requests > 0 && `${percent(sum((row) => row.outcomes.answered ?? 0) / requests)} answered`,
  ]
    .filter(Boolean)
    .join(' · ')}>${
    priced ? money(sum((row) => Number(row.cost)).toPrecision(3), priced.currency) : short(requests)
  }</${Tile}>`;
}

function Moving({ of }) {
  const active = of?.data.filter(going) ?? [];
  if (!active.length) return null;
  return html`<section class="card"><h2>Batches under way</h2>
    <ul class="moving">${active.map(
      (batch) => html`<li key=${batch.id}>
      <div class="row"><a href=${`#/batches/${batch.id}`}>${batch.metadata?.filename ?? batch.id}</a>
        <span>${number(batch.request_counts.completed + batch.request_counts.failed)} of
          ${' '}${many(batch.request_counts.total, 'line')}</span></div>
      <${Bar} batch=${batch} /></li>`,
    )}</ul></section>`;
}

function Models({ of }) {
  if (!of) return null;
  if (of.deployments.length === 0) {
    return html`<${Empty} title="No deployment">Name models and their deployments in
      <code>deployments.yaml</code>.</${Empty}>`;
  }
  const models = [...Map.groupBy(of.deployments, (each) => each.model)];
  return html`<section class="card"><div class="row"><h2>Models</h2><a href="#/deployments">All figures</a></div>
    <div class="pictures">${models
      .sort(([, a], [, b]) => b.length - a.length)
      .map(
        ([model, own]) => html`
      <div key=${model} class=${own.length > 1 ? 'whole' : ''}>
        <${Picture} model=${model} deployments=${own} /></div>`,
      )}</div></section>`;
}

function Failures({ of }) {
  const failed =
    of?.data.filter((job) => job.status === 'failed' || job.status === 'expired').slice(0, FAILURES) ?? [];
  if (!failed.length) return null;
  return html`<section class="card"><h2>Jobs that failed last</h2>
    <ul class="failures">${failed.map(
      (job) => html`<li key=${job.id}>
      <a href=${`#/jobs/${job.id}`}>${job.flow}</a> <${Pill} state=${job.status} />
      <span>${job.error?.detail}</span><small><${Time} at=${job.ended_at} /></small></li>`,
    )}</ul></section>`;
}
