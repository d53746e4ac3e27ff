// A gRPC server (@grpc/grpc-js) for specs: the first line of its output is "port N".
//
//   Unary    the message in brackets; metadata "x-in" comes back as "x-out", in head and trailers
//   Gather   all messages of the client, joined
//   Scatter  "N": N messages
//   Chat     each message in brackets, as it comes
//   Fail     "CODE text": that status
//   Sleep    "MS": after so long, how many milliseconds of the deadline were left at the start

const grpc = require('@grpc/grpc-js')
const service = require('./grpc_service.js')

function back (call) {
  const metadata = new grpc.Metadata()
  const value = call.metadata.get('x-in')[0]
  if (value) metadata.set('x-out', value)
  return metadata
}

const server = new grpc.Server()
server.addService(service, {
  Unary (call, done) {
    call.sendMetadata(back(call))
    done(null, `[${call.request}]`, back(call))
  },
  Gather (call, done) {
    const all = []
    call.on('data', (m) => all.push(m))
    call.on('end', () => done(null, all.join(',')))
  },
  Scatter (call) {
    for (let i = 1; i <= Number(call.request); i++) call.write(String(i))
    call.end()
  },
  Chat (call) {
    call.on('data', (m) => call.write(`[${m}]`))
    call.on('end', () => call.end())
  },
  Fail (call, done) {
    const [code, ...words] = call.request.split(' ')
    done({ code: Number(code), details: words.join(' ') })
  },
  Sleep (call, done) {
    const deadline = call.getDeadline()
    const left = deadline === Infinity ? -1 : Number(deadline) - Date.now()
    setTimeout(() => done(null, String(left)), Number(call.request))
  }
})
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (problem, port) => {
  if (problem) throw problem
  console.log('port ' + port)
})
