const express = require('express')

const version = 'v1'
const port = Number(process.env.PORT || 8080)

const app = express()
app.get('/', (req, res) => res.type('text/plain').send(`hello from Node.js, ${version}\n`))

const server = app.listen(port, () => console.log(`hello ${version} listens on port ${port}`))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
