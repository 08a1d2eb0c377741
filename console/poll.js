// Looking again and again: soon while something moves, seldom while nothing does or nobody looks.
import { useEffect, useRef, useState } from './ui.js';

const FASTEST = 1;
const SLOWEST = 10;
const HIDDEN = 60;
const SLOWER = 1.5;

// What `load(signal)` comes to, anew when `deps` change: { data, problem, refresh }.
// `moving(data)` says whether more is to be expected soon, in `fastest` seconds.
export function usePoll(load, deps, moving = () => false, fastest = FASTEST) {
  const [state, setState] = useState({});
  const refresh = useRef(() => {});
  useEffect(() => {
    const stop = new AbortController();
    let timer;
    let busy = false;
    let seconds = fastest;
    let seen = '';

    async function look() {
      clearTimeout(timer);
      if (busy) return;
      busy = true;
      try {
        const data = await load(stop.signal);
        const text = JSON.stringify(data);
        const quick = text !== seen || moving(data);
        seconds = quick ? fastest : Math.min(seconds * SLOWER, SLOWEST);
        if (!stop.signal.aborted && (text !== seen || seen === '')) setState({ data });
        else setState((old) => (old.problem ? { data: old.data } : old));
        seen = text;
      } catch (problem) {
        seconds = Math.min(seconds * 2, SLOWEST);
        if (!stop.signal.aborted) setState((old) => ({ data: old.data, problem }));
      } finally {
        busy = false;
        if (!stop.signal.aborted) {
          timer = setTimeout(look, 1000 * (document.hidden ? HIDDEN : seconds));
        }
      }
    }

    function soon() {
      seconds = fastest;
      return look();
    }

    const onVisible = () => document.hidden || soon();
    document.addEventListener('visibilitychange', onVisible);
    refresh.current = soon;
    setState({});
    look();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, deps);
  return { ...state, refresh: () => refresh.current() };
}

// The time now, which goes on once a second while `running`.
export function useNow(running) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!running) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => document.hidden || setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [running]);
  return now;
}
