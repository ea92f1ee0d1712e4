// Says why Node.js cannot run a source in TypeScript as it is, nor what that imports; nothing where it can. The sources are below the working directory.
const { readFileSync, statSync } = require('node:fs');
const { stripTypeScriptTypes } = require('node:module');
const path = require('node:path');

const entry = path.resolve(process.argv[1]);
const seen = new Set();
const imports = /\bimport\s+([\w$*{}\s,]+?)\s*from\s*['"][^'"]*['"]/g;
const relatives = /\b(?:from|import|require)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;
const comments = /\/\*[^]*?\*\/|\/\/[^\n]*/g;

// Node.js takes away what says that it is a type. Other compilers take away what is imported and never used as well.
function unused(text) {
	const code = text.replace(comments, '');
	const rest = code.replace(imports, '');
	const names = [...code.matchAll(imports)].flatMap(([, list]) => list.replace(/[{}]/g, ',').split(','));
	return names.map((item) => item.trim().split(/\s+/).pop()).find((name) => name && !new RegExp(`(?<![\\w$])${name.replaceAll('$', '\\$')}(?![\\w$])`).test(rest));
}

function why(file) {
	if (seen.has(file) || seen.size > 500) return '';
	seen.add(file);
	const name = file === entry ? 'it' : path.relative('.', file);
	let text = readFileSync(file, 'utf8');
	if (/\.[cm]?ts$/.test(file)) {
		for (const [, to] of text.matchAll(relatives)) if (!statSync(path.resolve(path.dirname(file), to), { throwIfNoEntry: false })?.isFile()) return `${name} imports ${to} without the ending of that file`;
		try {
			text = stripTypeScriptTypes(text);
		} catch {
			return `${name} has syntax that is more than types`;
		}
		const type = unused(text);
		if (type) return `${name} imports ${type}, which is used as a type alone, without saying so`;
	}
	for (const [, to] of text.matchAll(relatives)) {
		const next = path.resolve(path.dirname(file), to);
		const reason = /\.[cm]?[jt]s$/.test(next) && statSync(next, { throwIfNoEntry: false })?.isFile() ? why(next) : '';
		if (reason) return reason;
	}
	return '';
}

console.log(why(entry));
