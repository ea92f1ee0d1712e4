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

// intercept has a function see each request before the library's server does. It returns true, or a promise of that, where it has answered.
function intercept(see) {
	const emit = http.Server.prototype.emit;
	http.Server.prototype.emit = function (name, request, response) {
		if (name !== 'request') return emit.apply(this, arguments);
		const done = see(request, response);
		if (done instanceof Promise) {
			done.then((answered) => answered || emit.call(this, name, request, response)).catch(() => request.destroy());
			return true;
		}
		return done || emit.apply(this, arguments);
	};
}

function answer(request, response, status, text, headers) {
	request.resume();
	response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers });
	response.end(`${text}\n`);
	return true;
}

const kindOf = (request) => (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();

// refuseBatches answers batches of CloudEvents, which no library of functions takes, with a sentence instead of calling the function with what it does not
// expect.
export function refuseBatches() {
	intercept((request, response) => isBatch(request) && refuseBatch(request, response));
}

const isBatch = (request) => kindOf(request).startsWith('application/cloudevents-batch');

function refuseBatch(request, response) {
	return answer(request, response, 415, 'a batch of CloudEvents is not taken: send each event in a request of its own');
}

// maxEvent bounds the body of an event.
const maxEvent = 10 << 20;

// takeEvents reads CloudEvents of both content modes, as HTTP's binding has them, before the Functions Framework for Node.js does: that one fails on binary
// events without data, with data that is a text, and on requests other than POST, and passes on what lacks an attribute. It gets each event in structured
// mode, parsed, or for a function from before CloudEvents in binary mode. What it may still convert, the events of Google's services from before CloudEvents, passes as it is.
export function takeEvents(signature) {
	intercept((request, response) => {
		if (request.method !== 'POST') return answer(request, response, 405, 'this function takes events: send them by POST', { allow: 'POST' });
		if (isBatch(request)) return refuseBatch(request, response);
		return takeEvent(request, response, signature);
	});
}

async function takeEvent(request, response, signature) {
	const parts = [];
	let size = 0;
	for await (const part of request.iterator({ destroyOnReturn: false })) {
		if ((size += part.length) > maxEvent) return answer(request, response, 413, `an event has at most ${maxEvent >> 20} MiB`, { connection: 'close' });
		parts.push(part);
	}
	const body = Buffer.concat(parts);
	let event;
	try {
		event = request.headers['ce-specversion'] ? binaryEvent(request.headers, body) : JSON.parse(body.toString() || 'null');
	} catch (e) {
		return answer(request, response, 400, `the event cannot be read: ${e.message}`);
	}
	const structured = kindOf(request) === 'application/cloudevents+json' || request.headers['ce-specversion'];
	const missing = ['specversion', 'id', 'source', 'type'].filter((name) => typeof event?.[name] !== 'string' || !event[name]);
	if (structured && missing.length) return answer(request, response, 400, `the event is no CloudEvent: it lacks ${missing.join(', ')}`);
	if (!structured && !(event?.context ?? event?.eventType ?? event?.message)) {
		return answer(request, response, 400, 'the request is no CloudEvent: it has neither the headers ce-specversion, ce-id, ce-source and ce-type nor the content type application/cloudevents+json');
	}
	if (typeof event.data_base64 === 'string') {
		event.data = Buffer.from(event.data_base64, 'base64');
		delete event.data_base64;
	}
	if (structured) {
		for (const name of Object.keys(request.headers)) {
			if (name.startsWith('ce-')) delete request.headers[name];
		}
		request.headers['content-type'] = 'application/cloudevents+json';
	}
	request.body = event;
	request._body = true; // parsers of bodies leave it alone
	if (structured && signature === 'event') asBinary(request, event);
	return false;
}

// asBinary is the form in which the framework makes events of a function from before CloudEvents.
function asBinary(request, event) {
	const { data, ...attributes } = event;
	for (const [name, value] of Object.entries(attributes)) request.headers[`ce-${name}`] = String(value);
	request.headers['content-type'] = 'application/json';
	request.body = data ?? {};
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
	else event.data = /^text\//i.test(type) ? body.toString() : body;
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
