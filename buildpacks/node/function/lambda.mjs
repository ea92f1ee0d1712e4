// Runs a handler of AWS Lambda by aws-lambda-ric, which is the runtime of Lambda itself. Its client of the runtime API is a library in C++, which would have
// to be compiled; here is the same in JavaScript.
import http from 'node:http';
import { createRequire } from 'node:module';
import { statSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { library } from './common.mjs';

const api = '/2018-06-01/runtime';
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true });
let answered = Promise.resolve(); // the answer under way: the next invocation is asked for after it

function call(method, url, body, headers) {
	return new Promise((resolve, reject) => {
		const request = http.request({ host, port, method, path: api + url, agent, headers }, (response) => {
			const parts = [];
			response.on('data', (part) => parts.push(part)).on('error', reject);
			response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, bodyJson: Buffer.concat(parts).toString() }));
		});
		request.on('error', reject);
		request.end(body);
	});
}

function answer(url, body, headers) {
	const sent = call('POST', url, body, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers });
	answered = sent.then(
		({ status, bodyJson }) => status >= 400 && console.error(`the answer was not taken (${status}): ${bodyJson}`),
		(e) => console.error(`the answer could not be given: ${e.message}`),
	);
}

const client = {
	async next() {
		await answered;
		const { status, headers, bodyJson } = await call('GET', '/invocation/next');
		if (status !== 200) throw new Error(`the runtime API answers ${status}: ${bodyJson}`);
		return { headers, bodyJson };
	},
	done: (id, body) => answer(`/invocation/${id}/response`, body),
	error(id, body, trace) {
		let type = 'Error';
		try {
			type = JSON.parse(body).errorType ?? type;
		} catch {
			// it stays what it is
		}
		const printable = (text) => String(text ?? '').replace(/[^\x20-\x7e]/g, '?').slice(0, 4096);
		answer(`/invocation/${id}/error`, body, { 'lambda-runtime-function-error-type': printable(type), 'lambda-runtime-function-xray-error-cause': printable(trace) });
	},
};

const runtime = library('aws-lambda-ric');
const native = path.join(path.dirname(runtime), 'rapid-client.node');
if (statSync(native, { throwIfNoEntry: false })?.size === 0) createRequire(runtime).cache[native] = { id: native, filename: native, loaded: true, exports: client, children: [], paths: [] };
await import(pathToFileURL(runtime).href);
