// Serves a function of Knative by faas-js-runtime: the app's own version of it, or the one beside this file.
import { createRequire } from 'node:module';
import { exported, fail, library, load, missingOf, option, takeEvents, tellDropped, wantsEvent } from './common.mjs';

const source = option('source');
const { start } = createRequire(import.meta.url)(library('faas-js-runtime'));
takeEvents({ only: option('signature') === 'cloudevent' });

const module = await load(source);
const handle = module.handle ?? module.default?.handle ?? module.default;
if (typeof handle !== 'function') fail(`${source} has no function handle: ${exported(module)}`);

// The library answers with the message alone; the log is to have the stack.
const called = {
	async handle(...args) {
		try {
			const answer = await handle.apply(this, args);
			return args[0].cloudevent && wantsEvent(args[0].headers) ? eventAlone(answer) : answer;
		} catch (e) {
			console.error(e?.stack ?? e);
			throw e;
		}
	},
};

// eventAlone is what a function answers to a broker: an event, a failure, or nothing.
function eventAlone(answer) {
	if (!answer || answer.constructor?.name === 'CloudEvent' || answer.statusCode > 299) return answer;
	if (Object.keys(answer.headers ?? {}).some((name) => /^ce-specversion$/i.test(name) || /^content-type$/i.test(name) && /^application\/cloudevents/i.test(answer.headers[name]))) return answer;
	if (!missingOf(answer).length) return { headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' }, body: JSON.stringify(answer) };
	tellDropped();
	return undefined;
}

for (const name of ['init', 'shutdown', 'liveness', 'readiness', 'cors']) {
	const f = module[name] ?? module.default?.[name];
	if (typeof f === 'function') called[name] = f;
}
try {
	await start(called, { port: process.env.PORT || 8080, logLevel: process.env.FUNC_LOG_LEVEL, includeRaw: Boolean(process.env.FUNC_INCLUDE_RAW), bodyLimit: process.env.FUNC_BODY_LIMIT });
} catch (e) {
	fail(`${source} cannot be started:`, e?.stack ?? e);
}
