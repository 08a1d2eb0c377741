// A job's time as a drawing: its stay in the queue, its run, and each model call below it.
import { html } from './ui.js';
import { dateOf, duration, words } from './format.js';
import { tone, useWidth } from './parts.js';

const ROW = 26;
const TOP = 22;
const LABELS = 132;
const NARROW = 560;
const STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400,
  172_800,
];

export function Timeline({ job, now }) {
  const [element, width] = useWidth(720);
  const rows = rowsOf(job, now);
  const begin = dateOf(job.created_at) / 1000;
  const resumes = job.progress.resumes_at ? dateOf(job.progress.resumes_at) / 1000 : 0;
  const end = Math.max(...rows.map((row) => row.until), resumes, begin + 0.001);
  const left = width < NARROW ? 8 : LABELS;
  const scale = (width - left - 12) / (end - begin);
  const x = (at) => left + (at - begin) * scale;
  const height = TOP + rows.length * (width < NARROW ? ROW + 14 : ROW) + 6;
  return html`<div ref=${element} class="drawing">
    <svg width=${width} height=${height} role="img" aria-label=${told(rows)}>
      ${ticks(end - begin, width).map(
        (tick) => html`<g key=${tick} class="tick">
        <line x1=${x(begin + tick)} x2=${x(begin + tick)} y1=${TOP - 6} y2=${height} />
        <text x=${x(begin + tick) + 3} y="11">${tick === 0 ? '0' : duration(tick)}</text></g>`,
      )}
      ${rows.map((row, index) => html`<${Row} key=${index} ...${{ row, index, x, width, left }} />`)}
      ${
        resumes > 0 &&
        html`<g class="mark"><line x1=${x(resumes)} x2=${x(resumes)} y1=${TOP - 6}
        y2=${height} /><text x=${x(resumes) - 4} y=${height - 4} text-anchor="end">goes on</text></g>`
      }
    </svg>
  </div>`;
}

function Row({ row, index, x, width, left }) {
  const narrow = width < NARROW;
  const y = TOP + index * (narrow ? ROW + 14 : ROW);
  const bar = narrow ? y + 15 : y + 4;
  const long = Math.max(3, x(row.until) - x(row.from));
  const said = duration(row.until - row.from);
  const inside = long > said.length * 7 + 14;
  const right = x(row.from) + long + 6 + said.length * 7 < width;
  return html`<g class=${`bar ${row.tone}`}>
    <title>${row.label}: ${said}, ${words(row.state)}</title>
    <text class="label" x=${narrow ? left : left - 10} y=${narrow ? y + 11 : y + 18}
      text-anchor=${narrow ? 'start' : 'end'}>${cut(row.label)}</text>
    <rect x=${x(row.from)} y=${bar} width=${long} height=${ROW - 9} rx="4" />
    <text class=${inside ? 'inside' : ''} y=${bar + 13} text-anchor=${inside || right ? 'start' : 'end'}
      x=${inside ? x(row.from) + 7 : right ? x(row.from) + long + 6 : x(row.from) - 6}>${said}</text>
  </g>`;
}

const cut = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);

function rowsOf(job, now) {
  const seconds = (told) => dateOf(told) / 1000;
  const created = seconds(job.created_at);
  const ended = job.ended_at ? seconds(job.ended_at) : now / 1000;
  const started = job.started_at ? seconds(job.started_at) : ended;
  const rows = [
    { label: 'in queue', from: created, until: Math.max(started, created), state: 'queued', tone: 'calm' },
  ];
  if (job.started_at) {
    rows.push({
      label: 'job',
      from: started,
      until: Math.max(ended, started),
      state: job.status,
      tone: tone(job.status),
    });
  }
  for (const attempt of job.attempts) {
    const from = seconds(attempt.started_at);
    rows.push({
      label: attempt.deployment,
      from,
      until: from + attempt.seconds,
      state: attempt.outcome,
      tone: tone(attempt.outcome),
    });
  }
  return rows;
}

function ticks(seconds, width) {
  const most = Math.max(2, Math.floor(width / 110));
  const step = STEPS.find((each) => seconds / each <= most) ?? 172_800 * Math.ceil(seconds / 172_800 / most);
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, index) => index * step);
}

const told = (rows) =>
  rows.map((row) => `${row.label}: ${duration(row.until - row.from)}, ${words(row.state)}`).join('; ');
