// Debian's Chromium and the pages of a running dashboard, for all tests here; nothing is downloaded.
//
// QUINTILE_URL names a running dashboard with scored customers (`quintile demo`). SHOTS names a folder
// for pictures of each page.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

export const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const axeSource = readFileSync(axe, 'utf8');
export const shots = process.env.SHOTS;
export const quintile = new URL('../../target/debug/quintile', import.meta.url).pathname;
// The tests' own variable would be a setting of a server that they start.
export const { QUINTILE_URL: demo, ...env } = process.env;

/** Starts a browser; makes the folder for pictures. */
export async function launch() {
  if (shots) mkdirSync(shots, { recursive: true });
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
}

/** `quintile serve` over an empty shop, in a folder that goes with it. */
export async function serve() {
  const folder = mkdtempSync(join(tmpdir(), 'quintile-browser-'));
  writeFileSync(join(folder, 'config.toml'), '[webhooks]\nlisten = "127.0.0.1:0"\n[dashboard]\nlisten = "127.0.0.1:0"\n');
  const server = spawn(quintile, ['serve'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'ignore'] });
  const stop = () => {
    server.kill();
    rmSync(folder, { recursive: true });
  };
  for await (const line of createInterface({ input: server.stdout })) {
    const base = line.match(/^dashboard +(\S+)/)?.[1];
    if (base) return { base, stop };
  }
  stop();
  throw new Error('the dashboard did not start');
}

/**
 * A dashboard in a browser of the calling file's own: the one that QUINTILE_URL names, or what `start`
 * gives.
 */
export function dashboard(start) {
  if (!start && !demo) throw new Error('QUINTILE_URL must name a running dashboard, like http://127.0.0.1:8787');
  const shared = { base: demo, browser: undefined, open, looks };
  let stop = () => {};
  before(async () => {
    if (start) ({ base: shared.base, stop } = await start());
    shared.browser = await launch();
  });
  after(async () => {
    await shared.browser?.close();
    stop();
  });

  /** Opens a page and collects what the browser complains of. axe needs the policy out of its way. */
  async function open(path, { width = 1280, scheme = 'light', bypassCSP = false } = {}) {
    const context = await shared.browser.newContext({
      viewport: { width, height: 900 },
      colorScheme: scheme,
      bypassCSP,
      baseURL: shared.base,
    });
    const page = await context.newPage();
    const complaints = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('requestfailed', (request) => {
      // A page that refreshes itself, or is left, gives up what it was still fetching.
      if (request.failure()?.errorText !== 'net::ERR_ABORTED') complaints.push(`${request.url()} failed`);
    });
    const response = await page.goto(path);
    return { page, complaints, status: response.status() };
  }

  /**
   * Looks at a page light and dark, wide and narrow: no console message, nothing that is cut off or has
   * to be scrolled sideways, no axe violation. `act` is done first, like opening what is folded away.
   */
  async function looks(name, path, { status = 200, act = async () => {} } = {}) {
    for (const scheme of ['light', 'dark']) {
      for (const width of [1280, 390]) {
        const look = `${name} ${scheme} ${width}`;
        const seen = await open(path, { width, scheme });
        assert.equal(seen.status, status, look);
        await act(seen.page);
        if (shots) await seen.page.screenshot({ path: `${shots}/${name}-${width}-${scheme}.png`, fullPage: true });
        assert.deepEqual(await seen.page.evaluate(tooWide), [], look);
        // The browser itself says that an answer was 404.
        assert.deepEqual(seen.complaints.filter((text) => status === 200 || !text.includes(String(status))), [], look);
        // Room for a finger is asked for too. Evaluated by the browser's debugger, which the page's policy leaves alone.
        await seen.page.evaluate(axeSource);
        const { violations } = await seen.page.evaluate(() => globalThis.axe.run({ rules: { 'target-size': { enabled: true } } }));
        const found = violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).join(' | ')}`);
        assert.deepEqual(found, [], look);
        await seen.page.context().close();
      }
    }
  }
  return shared;
}

/** In the page: what goes over the side of the page or of its card. Tables with many columns may scroll. */
function tooWide() {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`the page, by ${root.scrollWidth - root.clientWidth} px`);
  for (const element of document.querySelectorAll('main *')) {
    const { overflowX } = getComputedStyle(element);
    const scrolls = ['auto', 'scroll'].includes(overflowX) && element.scrollWidth > element.clientWidth;
    if (scrolls && !element.querySelector('.matrix, .tight, .seen')) found.push(element.outerHTML.slice(0, 120));
  }
  for (const text of document.querySelectorAll('svg text')) {
    const [inner, outer] = [text, text.closest('.card')].map((element) => element.getBoundingClientRect());
    if (inner.width > 0 && (inner.left < outer.left || inner.right > outer.right)) found.push(`“${text.textContent}”`);
  }
  return found;
}
