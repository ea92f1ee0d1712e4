// What the programs that start a function share: its options, how it is loaded, and what is told where it cannot be.
import { createRequire } from 'node:module';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

// option is the value of --NAME=VALUE of the command line; '' without one.
export function option(name) {
	const prefix = `--${name}=`;
	return process.argv.find((a) => a.startsWith(prefix))?.slice(prefix.length) ?? '';
}

// fail says why the function cannot be served, and ends the program.
export function fail(...lines) {
	for (const line of lines) console.error(line);
	process.exit(1);
}

// load loads the module of the function. What it throws is told with its own stack.
export async function load(source) {
	try {
		return await import(pathToFileURL(path.resolve(source)).href);
	} catch (e) {
		fail(`${source} cannot be loaded:`, e?.stack ?? e);
	}
}

// member finds an export, which may be deep: "a.b".
export function member(module, name) {
	const in_ = (o) => name.split('.').reduce((at, part) => at?.[part], o);
	const found = in_(module) ?? in_(module.default);
	// A module that was compiled to CommonJS has its default export as a property of that.
	return name === 'default' && typeof found?.default === 'function' ? found.default : found;
}

// exported lists the functions of a module, for people.
export function exported(module) {
	const names = new Set();
	for (const of of [module, module.default]) {
		for (const name of Object.keys(of ?? {})) {
			if (typeof of[name] === 'function') names.add(name);
		}
	}
	names.delete('module.exports');
	return names.size ? `it exports ${[...names].sort().join(', ')}` : 'it exports no function';
}

// library finds a package: the app's own version before the one beside this file.
export function library(name) {
	for (const from of [path.resolve('package.json'), import.meta.url]) {
		try {
			return createRequire(from).resolve(name);
		} catch (e) {
			if (e.code !== 'MODULE_NOT_FOUND') throw e;
		}
	}
	fail(`the package ${name} is missing from the image`);
}

// intercept has a function see each request before the library's server does. What it returns, or promises, is true where it has answered, or the request
// for the library in place of this one.
function intercept(see) {
	const emit = http.Server.prototype.emit;
	http.Server.prototype.emit = function (name, request, response) {
		if (name !== 'request') return emit.apply(this, arguments);
		const go = (seen) => seen === true || emit.call(this, name, seen || request, response);
		const seen = see(request, response);
		if (!(seen instanceof Promise)) return go(seen);
		seen.then(go).catch(() => request.destroy());
		return true;
	};
}

function answer(request, response, status, text, headers) {
	request.resume();
	response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers });
	response.end(`${text}\n`);
	return true;
}

const kindOf = (request) => (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();

const isBatch = (request) => kindOf(request).startsWith('application/cloudevents-batch');

// maxEvent bounds the body of an event.
const maxEvent = 10 << 20;

// takeEvents reads CloudEvents of both content modes, as HTTP's binding has them, before a library does: those for Node.js fail on binary events without
// data or with data that is a text, and pass on what lacks an attribute. The library gets each event in structured mode; a function from before CloudEvents
// in binary mode. only says that the function takes events and nothing else; what the Functions Framework may still convert, the events of Google's
// services from before CloudEvents, passes where legacy says so.
export function takeEvents({ only, legacy, binary }) {
	intercept((request, response) => {
		if (isBatch(request)) return answer(request, response, 415, 'a batch of CloudEvents is not taken: send each event in a request of its own');
		const event = 'ce-specversion' in request.headers || kindOf(request) === 'application/cloudevents+json';
		if (event && legacy && wantsEvent(request.headers)) eventsAlone(response);
		if (request.method !== 'POST') return only && legacy && answer(request, response, 405, 'this function takes events: send them by POST', { allow: 'POST' });
		return (event || only) && takeEvent(request, response, { event, legacy, binary });
	});
}

async function takeEvent(request, response, { event, legacy, binary }) {
	const body = await read(request);
	if (!body) return answer(request, response, 413, `an event has at most ${maxEvent >> 20} MiB`, { connection: 'close' });
	let e;
	try {
		e = 'ce-specversion' in request.headers ? binaryEvent(request.headers, body) : JSON.parse(body.toString() || 'null');
	} catch (error) {
		return answer(request, response, 400, `the event cannot be read: ${error.message}`);
	}
	if (!event) {
		if (legacy && (e?.context ?? e?.eventType ?? e?.message)) return again(request, request.headers, body);
		return answer(request, response, 400, 'the request is no CloudEvent: it has neither the headers ce-specversion, ce-id, ce-source and ce-type nor the content type application/cloudevents+json');
	}
	const missing = missingOf(e);
	if (missing.length) return answer(request, response, 400, `the event is no CloudEvent: it lacks ${missing.join(', ')}`);
	const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !name.startsWith('ce-')));
	if (!binary) return again(request, { ...headers, 'content-type': 'application/cloudevents+json' }, Buffer.from(JSON.stringify(e)));
	const { data, data_base64, ...attributes } = e;
	for (const [name, value] of Object.entries(attributes)) headers[`ce-${name}`] = String(value);
	if (data_base64) return again(request, { ...headers, 'content-type': 'application/octet-stream' }, Buffer.from(data_base64, 'base64'));
	return again(request, { ...headers, 'content-type': 'application/json' }, Buffer.from(JSON.stringify(data ?? {})));
}

// wantsEvent tells by its headers whether a request is a broker's, for which only an event, or nothing, is an answer: anything else is a failure.
export const wantsEvent = (headers) => /reply/i.test(headers.prefer ?? '');

// eventsAlone has a response of the Functions Framework be an event or nothing. An event that the function returns the framework sends as any JSON.
function eventsAlone(response) {
	const end = response.end;
	response.end = function (chunk, ...rest) {
		const kind = String(response.getHeader('content-type') ?? '');
		if (response.headersSent || response.statusCode > 299 || response.hasHeader('ce-specversion') || kind.startsWith('application/cloudevents')) return end.call(this, chunk, ...rest);
		if (isEvent(chunk)) {
			response.setHeader('content-type', 'application/cloudevents+json; charset=utf-8');
			return end.call(this, chunk, ...rest);
		}
		if (chunk?.length) tellDropped();
		for (const name of ['content-type', 'content-length', 'etag']) response.removeHeader(name);
		response.statusCode = 204;
		return end.call(this);
	};
}

export function tellDropped() {
	console.error("the function's answer to an event is dropped: it is no CloudEvent");
}

// isEvent tells whether a text is a CloudEvent in JSON.
function isEvent(text) {
	try {
		return missingOf(JSON.parse(String(text))).length === 0;
	} catch {
		return false;
	}
}

// missingOf are the attributes that an event must have and lacks.
export const missingOf = (e) => ['specversion', 'id', 'source', 'type'].filter((name) => typeof e?.[name] !== 'string' || !e[name]);

// read is the body of a request; undefined for one that is too long.
async function read(request) {
	const parts = [];
	let size = 0;
	for await (const part of request.iterator({ destroyOnReturn: false })) {
		if ((size += part.length) > maxEvent) return undefined;
		parts.push(part);
	}
	return Buffer.concat(parts);
}

// again is a request with another body.
function again(request, headers, body) {
	const copy = new http.IncomingMessage(request.socket);
	const { method, url, httpVersion, httpVersionMajor, httpVersionMinor } = request;
	const rest = { ...headers, 'content-length': String(body.length) };
	delete rest['transfer-encoding'];
	Object.assign(copy, { method, url, httpVersion, httpVersionMajor, httpVersionMinor, headers: rest, rawHeaders: Object.entries(rest).flat(), complete: true });
	copy.push(body);
	copy.push(null);
	return copy;
}

// binaryEvent is an event whose attributes are headers.
function binaryEvent(headers, body) {
	const event = {};
	for (const [name, value] of Object.entries(headers)) {
		if (name.startsWith('ce-')) event[name.slice(3)] = decode(value);
	}
	const type = headers['content-type'];
	if (type) event.datacontenttype = type;
	if (body.length === 0) return event;
	if (!type || /^application\/([\w.+-]+\+)?json\b/i.test(type)) event.data = JSON.parse(body.toString());
	else if (/^text\//i.test(type)) event.data = body.toString();
	else event.data_base64 = body.toString('base64');
	return event;
}

// decode undoes the percent-encoding of headers of CloudEvents.
function decode(value) {
	try {
		return decodeURIComponent(value);
	} catch {
		return value;
	}
}
