--- Certificates and TLS clients for specs, through the `openssl` and `curl` command lines.
--
--   local files = tls.files({ api = { names = { "api.test" } }, ca = { ca = true },
--                             client = { cn = "alice", signer = "ca" } })
--   gateway.start({ config = ..., files = files })   -- api.pem, api.key, ca.pem, ... beside the config
--   local r = tls.curl(g, "https://api.test:@PORT@/", "--cacert", "api.pem")   -- r.code, r.out, r.err
--   local s = tls.s_client(g, "-servername", "api.test")                       -- what s_client tells
--
-- Commands run in the gateway's folder; every name resolves to 127.0.0.1. Keys are P-256 unless
-- `rsa = true`. What was made once for a list of wishes is kept for the spec file.

local busted = require("busted")
local process = require("support.process")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local tls = {}

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Runs a program. @return { code, out, err }
function tls.run(dir, argv, seconds)
  local name = os.tmpname()
  local out, err = process.output(name), process.output(name .. ".err")
  local p = process.spawn({ argv = argv, cwd = dir, stdout = out, stderr = err })
  unistd.close(out)
  unistd.close(err)
  local status = p:wait(seconds or 20) or p:kill()
  local result = { code = status.code, out = slurp(name), err = slurp(name .. ".err") }
  os.remove(name)
  os.remove(name .. ".err")
  return result
end

local function openssl(dir, ...)
  local r = tls.run(dir, { "openssl", ... })
  assert(r.code == 0, r.err)
end

local function make_key(dir, name, rsa)
  if rsa then
    openssl(dir, "genrsa", "-out", name .. ".key", "2048")
  else
    openssl(dir, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name .. ".key")
  end
end

local function subject_names(names)
  local list = {}
  for i, value in ipairs(names or {}) do
    list[i] = (value:find("^[%d.]+$") and "IP:" or "DNS:") .. value
  end
  return table.concat(list, ",")
end

local function make(dir, name, wish)
  make_key(dir, name, wish.rsa)
  local subject = "/CN=" .. (wish.cn or wish.names and wish.names[1] or name)
  local extension = wish.names and "subjectAltName=" .. subject_names(wish.names) or
                    "basicConstraints=critical,CA:TRUE"
  openssl(dir, "req", "-new", "-key", name .. ".key", "-out", name .. ".csr", "-subj", subject, "-addext",
    extension)
  local argv = { "x509", "-req", "-in", name .. ".csr", "-copy_extensions", "copy", "-out", name .. ".pem",
                 "-days", wish.expired and "-1" or "30" }
  local signer = wish.signer and { "-CA", wish.signer .. ".pem", "-CAkey", wish.signer .. ".key",
                                   "-CAcreateserial" } or { "-signkey", name .. ".key" }
  for _, argument in ipairs(signer) do
    table.insert(argv, argument)
  end
  openssl(dir, unpack(argv))
end

--- Makes certificates. @param wishes name -> { names, cn, rsa, signer (a wish without one), expired }
-- @return file name -> text: NAME.pem and NAME.key
function tls.files(wishes)
  local dir = assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-spec-XXXXXX"))
  local files = {}
  for _, signed in ipairs({ false, true }) do
    for name, wish in pairs(wishes) do
      if (wish.signer ~= nil) == signed then
        make(dir, name, wish)
        files[name .. ".pem"] = slurp(dir .. "/" .. name .. ".pem")
        files[name .. ".key"] = slurp(dir .. "/" .. name .. ".key")
      end
    end
  end
  os.execute(("rm -rf '%s'"):format(dir))
  return files
end

local function arguments(g, argv, ...)
  for _, argument in ipairs({ ... }) do
    table.insert(argv, (argument:gsub("@PORT@", g.port)))
  end
  return argv
end

--- Writes some of such files where programs that take paths find them, until the block has ended.
-- @tparam table files as tls.files() has them
-- @tparam {string,...} names of those to write
-- @treturn {string,...} their paths, in that order, from the block's setup on
function tls.on_disk(files, names)
  local paths = {}
  busted.setup(function()
    for i, name in ipairs(names) do
      paths[i] = os.tmpname()
      local file = assert(io.open(paths[i], "wb"))
      file:write(files[name])
      file:close()
    end
  end)
  busted.teardown(function()
    for _, path in ipairs(paths) do
      os.remove(path)
    end
  end)
  return paths
end

--- Runs curl in the gateway's folder.
function tls.curl(g, ...)
  local argv = { "curl", "-sS", "--max-time", "20", "--connect-to", "::127.0.0.1:" }
  return tls.run(g.dir, arguments(g, argv, ...))
end

--- Runs `openssl s_client` against the gateway; it ends when the handshake is over.
-- @return { code, out, err, version, cipher, alpn, alert, subject, peer_key }
function tls.s_client(g, ...)
  local argv = { "openssl", "s_client", "-connect", "127.0.0.1:" .. g.port }
  local r = tls.run(g.dir, arguments(g, argv, ...))
  r.version = r.out:match("New, (TLSv[%d.]+)") or r.out:match("Reused, (TLSv[%d.]+)")
  r.cipher = r.out:match("Cipher is (%S+)")
  r.alpn = r.out:match("ALPN protocol: (%S+)")
  r.alert = tonumber(r.err:match("SSL alert number (%d+)"))
  r.subject = r.out:match("subject=CN = (%S+)")
  r.signature = r.out:match("Peer signature type: (%S+)")
  return r
end

return tls
