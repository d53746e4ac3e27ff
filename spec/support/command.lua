--- The program run for one answer: a folder of files, a command in it, and what it said.
--
--     local c = command.folder()
--     c:write("gateway.lua", text)
--     local code, out, err = c:run("check", "--json")   the program under test
--     local code, printed = c:run_words({ "busted", "x_spec.lua" })
--     c:close()

local process = require("support.process")
local stdlib = require("posix.stdlib")
local unistd = require("posix.unistd")

local command = {}
command.__index = command

--- A folder of its own.
function command.folder()
  local dir = assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidegate-spec-XXXXXX"))
  return setmetatable({ dir = dir }, command)
end

function command:write(name, text)
  local file = assert(io.open(self.dir .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

function command:read(name)
  local file = assert(io.open(self.dir .. "/" .. name))
  local text = file:read("*a")
  file:close()
  return text
end

local function wait(self, argv, out, err)
  local child = process.spawn({ argv = argv, cwd = self.dir, stdout = out, stderr = err })
  local status = child:wait(30) or child:kill()
  return status.code
end

--- Runs the program in the folder: exit status, stdout, stderr.
function command:run(...)
  local out, err = process.output(self.dir .. "/out"), process.output(self.dir .. "/err")
  local code = wait(self, { os.getenv("TIDEGATE_BIN"), ... }, out, err)
  unistd.close(out)
  unistd.close(err)
  return code, self:read("out"), self:read("err")
end

--- Runs any command in the folder: exit status, and all that it printed in the order in which it did.
function command:run_words(argv)
  local out = process.output(self.dir .. "/out")
  local code = wait(self, argv, out, out)
  unistd.close(out)
  return code, self:read("out")
end

function command:close()
  os.execute(("rm -rf '%s'"):format(self.dir))
end

return command
