// Numbers and times as people read them.

const NUMBER = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
const TIME = new Intl.DateTimeFormat('en-GB', CLOCK);
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const WHOLE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

export const number = (value) => NUMBER.format(value);
export const short = (value) => SHORT.format(value);
export const percent = (share) =>
  `${NUMBER.format(share > 0 && share < 0.1 ? Math.round(share * 1000) / 10 : Math.round(share * 100))}%`;

export const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;

// A Date of what the API tells: ISO text, or Unix seconds.
export const dateOf = (told) => new Date(typeof told === 'number' ? told * 1000 : told);

export function clock(told) {
  const date = dateOf(told);
  const today = date.toDateString() === new Date().toDateString();
  return today ? TIME.format(date) : `${DAY.format(date)}, ${TIME.format(date).slice(0, 5)}`;
}

export const whole = (told) => WHOLE.format(dateOf(told));

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${(Math.round(seconds * 100) / 100).toPrecision(2)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const steps = Math.min(Math.floor(Math.log10(count) / 3), 4);
  return `${(count / 1000 ** steps).toPrecision(3)} ${['B', 'kB', 'MB', 'GB', 'TB'][steps]}`;
}

// The ledger's amounts are exact; people read four figures of small ones.
export function money(amount, currency) {
  const value = Number(amount);
  const digits =
    value === 0 || Math.abs(value) >= 1 ? 2 : Math.min(8, 3 - Math.floor(Math.log10(Math.abs(value))));
  const options = currency ? { style: 'currency', currency } : {};
  return new Intl.NumberFormat('en', {
    ...options,
    minimumFractionDigits: 2,
    maximumFractionDigits: Math.max(2, digits),
  }).format(value);
}

export const words = (name) => name.replaceAll('_', ' ');
