// As most small apps: no handler for SIGTERM. A container's first process does not notice a signal that it has no handler for.
require('http').createServer((q, r) => r.end('node v1\n')).listen(process.env.PORT)
