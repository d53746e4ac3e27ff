// An origin for specs that speaks WebSocket through the `ws` package.
//
//   node ws_origin.js [port]
//
// The first line of its output is "port N". It offers compression and agrees to the subprotocol "second". It sends
// back what comes; a text "close N" closes with that code, "break" destroys the connection.

const { WebSocketServer } = require('ws')

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2] || 0),
  perMessageDeflate: true,
  handleProtocols: (offered) => (offered.has('second') ? 'second' : false),
})
server.on('listening', () => console.log('port ' + server.address().port))
server.on('connection', (socket) => {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? '' : data.toString()
    const close = /^close (\d+)$/.exec(text)
    if (close) socket.close(Number(close[1]), 'as asked')
    else if (text === 'break') socket.terminate()
    else socket.send(data, { binary: isBinary })
  })
})
