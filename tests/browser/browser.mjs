// Debian's Chromium and the pages of a running dashboard, for all tests here; nothing is downloaded.
//
// QUINTILE_URL names a running dashboard with scored customers (`quintile demo`). SHOTS names a folder
// for pictures of each page.

import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

export const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
export const shots = process.env.SHOTS;

/** Starts a browser; makes the folder for pictures. */
export async function launch() {
  if (shots) mkdirSync(shots, { recursive: true });
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
}

/** The dashboard that QUINTILE_URL names, in a browser of the calling file's own. */
export function dashboard() {
  const base = process.env.QUINTILE_URL;
  if (!base) throw new Error('QUINTILE_URL must name a running dashboard, like http://127.0.0.1:8787');
  const shared = { base, browser: undefined, open };
  before(async () => {
    shared.browser = await launch();
  });
  after(() => shared.browser?.close());

  /** Opens a page and collects what the browser complains of. axe needs the policy out of its way. */
  async function open(path, { width = 1280, scheme = 'light', bypassCSP = false } = {}) {
    const context = await shared.browser.newContext({
      viewport: { width, height: 900 },
      colorScheme: scheme,
      bypassCSP,
      baseURL: base,
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
  return shared;
}
