// Nodemailer's smtp-server with everything that it has: run_smtp_server.cjs CERTIFICATE KEY USER PASSWORD ROLE=PORT…
'use strict'
const fs = require('node:fs')
const { SMTPServer } = require('smtp-server')

const [certificate, key, user, password, ...ports] = process.argv.slice(2)

function refusal(code, text) {
  return Object.assign(new Error(text), { responseCode: code })
}

function known(auth) {
  if (auth.username !== user) return false
  return auth.method === 'CRAM-MD5' ? auth.validatePassword(password) : auth.password === password
}

const everything = {
  name: 'mx.peer.example',
  cert: fs.readFileSync(certificate),
  key: fs.readFileSync(key),
  size: 5_000_000,
  authMethods: ['PLAIN', 'LOGIN', 'CRAM-MD5'],
  authOptional: true,
  hideENHANCEDSTATUSCODES: false,
  hideDSN: false,
  hideREQUIRETLS: false,
  hideSMTPUTF8: false,
  disableReverseLookup: true,
  logger: false,
  onAuth: (auth, session, done) => known(auth) ? done(null, { user }) : done(refusal(535, 'wrong user or password')),
  onRcptTo: ({ address }, session, done) =>
    session.user || /^postmaster$|@peer\.example$/i.test(address) ? done() : done(refusal(550, 'relay not permitted')),
  onData: (stream, session, done) => {
    stream.on('data', () => {})
    stream.on('end', () => done(stream.sizeExceeded ? refusal(552, 'too large') : null, 'discarded'))
  }
}
const others = {
  smtp: {},
  insecure: { allowInsecureAuth: true },
  submission: { authOptional: false },
  submissions: { secure: true, authOptional: false },
  lmtp: { lmtp: true }
}

for (const text of ports) {
  const [role, port] = text.split('=')
  const server = new SMTPServer({ ...everything, ...others[role] })
  server.on('error', error => process.stderr.write(`${error.message}\n`))
  server.listen(Number(port), '127.0.0.1')
}
