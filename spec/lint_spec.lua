--- The checks in spec/lint/, each tried on a small tree with one defect, and without it.

local ROOT = "build/lint_spec"

-- Builds a tree of files, with the checks copied in, and runs one check there. Returns its output.
local function lint(name, files)
  os.execute(("rm -rf '%s' && mkdir -p '%s/spec' && cp -r spec/lint '%s/spec/'"):format(ROOT, ROOT, ROOT))
  for path, text in pairs(files) do
    local full = ROOT .. "/" .. path
    os.execute(("mkdir -p '%s'"):format(full:match("^(.*)/")))
    local file = assert(io.open(full, "w"))
    file:write(text)
    file:close()
  end
  local pipe = io.popen(("cd '%s' && luajit spec/lint/%s.lua 2>&1; echo status $?"):format(ROOT, name))
  local output = pipe:read("*a")
  pipe:close()
  return output
end

local function assert_good(output)
  assert.contains("\nok 1 - ", output)
  assert.contains("status 0", output)
end

local function assert_bad(problem, output)
  assert.contains(problem, output)
  assert.contains("not ok 1 - ", output)
  assert.contains("status 1", output)
end

describe("layers", function()
  local LAYERS = "base:\nhttp: base\ncli: *\n"

  it("allow the own folder, those in the table, and everything to cli", function()
    assert_good(lint("layers", {
      ["core/LAYERS"] = LAYERS,
      ["core/http/a.c"] = '#include "base/x.h"\n#include "http/b.h"\n#include <stdio.h>\n',
      ["core/cli/main.c"] = '#include "http/b.h"\n',
    }))
  end)

  it("refuse an include upward, with its line", function()
    assert_bad("core/base/a.h:2: base may not include http/b.h", lint("layers", {
      ["core/LAYERS"] = LAYERS,
      ["core/base/a.h"] = '\n#include "http/b.h"\n',
    }))
  end)

  it("refuse an include without a folder, and a folder without a layer", function()
    local output = lint("layers", {
      ["core/LAYERS"] = LAYERS,
      ["core/base/a.c"] = '#include "a.h"\n',
      ["core/junk/a.c"] = "",
    })
    assert_bad('core/base/a.c:1: write "base/a.h"', output)
    assert_bad("core/junk/a.c: folder junk is not in core/LAYERS", output)
  end)
end)

describe("sizes", function()
  local function c_function(lines)
    return "int tg_long_one(int a,\n                int b)\n{\n" .. ("    a++;\n"):rep(lines - 2) .. "}\n"
  end

  it("accept a function of 80 lines and refuse one of 81", function()
    assert_good(lint("sizes", { ["core/base/a.c"] = c_function(80) }))
    assert_bad("core/base/a.c:3: tg_long_one has 81 lines", lint("sizes", {
      ["core/base/a.c"] = c_function(81),
    }))
  end)

  it("measure Lua functions by their own end", function()
    local function script(lines)
      return "local M = {}\nfunction M.long()\n  if x then\n  end\n" .. ("  x()\n"):rep(lines - 4) .. "end\n"
    end
    assert_good(lint("sizes", { ["lua/a.lua"] = script(80) .. "x = 1\n" .. script(80) }))
    assert_bad("lua/a.lua:2: M.long has 81 lines", lint("sizes", { ["lua/a.lua"] = script(81) }))
  end)

  it("refuse long files, and specs earlier", function()
    assert_good(lint("sizes", { ["core/base/a.h"] = ("\n"):rep(1000) }))
    assert_bad("core/base/a.h: 1001 lines", lint("sizes", { ["core/base/a.h"] = ("\n"):rep(1001) }))
    assert_bad("spec/a_spec.lua: 401 lines", lint("sizes", { ["spec/a_spec.lua"] = ("\n"):rep(401) }))
  end)

  it("heed exemptions, and refuse those that nothing needs", function()
    local exempt = 'return { file_lines = { ["core/base/a.h"] = "a generated table" } }'
    assert_good(lint("sizes", {
      ["core/base/a.h"] = ("\n"):rep(1001),
      ["spec/lint/exemptions.lua"] = exempt,
    }))
    assert_bad('file_lines: "core/base/a.h" is not needed', lint("sizes", {
      ["core/base/a.h"] = "\n",
      ["spec/lint/exemptions.lua"] = exempt,
    }))
  end)
end)

describe("banned", function()
  local FIRST = '/* a */\n#include "base/banned.h"\n'

  it("find the allocator outside mem.c only, and not in comments, strings or members", function()
    assert_good(lint("banned", {
      ["core/base/mem.c"] = FIRST .. "void f(void) { free(malloc(1)); }\n",
      ["core/base/a.c"] = FIRST .. '/* free(x) */ // malloc(1)\nchar *s = "free(\\"x\\")"; char q = \'"\';\n'
        .. "void g(void) { a->free(a); b.free(b); tg_mem_free(c); }\n",
    }))
    assert_bad("core/base/a.c:3: free belongs to core/base/mem.c", lint("banned", {
      ["core/base/a.c"] = FIRST .. "void g(void) { free(a); }\n",
    }))
  end)

  it("find banned functions, struct typedefs and a missing first include", function()
    local output = lint("banned", {
      ["core/base/a.c"] = "#include <stdio.h>\ntypedef struct x x;\n"
        .. "void f(void) { if (a > b) sprintf(a, b); }\n",
    })
    assert_bad("core/base/a.c:3: sprintf is banned: use tg_fmt", output)
    assert_bad("core/base/a.c:2: no typedefs of structs", output)
    assert_bad('the first include must be "base/banned.h"', output)
  end)
end)

describe("facts", function()
  -- A tree in which everything is in order, with changes: false takes a file out.
  local function facts(changes)
    local files = {
      ["core/README.md"] = "a", ["lua/README.md"] = "a", ["plugins/README.md"] = "a",
      ["spec/README.md"] = "a", ["examples/README.md"] = "a",
      ["core/base/a.c"] = "/* a */\n",
      ["core/base/a.h"] = "/* a */\n#ifndef TG_BASE_A_H\n#define TG_BASE_A_H\n#endif\n",
      ["spec/core/base/a_test.c"] = "/* a */\n",
      ["plugins/cors/init.lua"] = "-- a\n", ["plugins/cors/README.md"] = "a",
      ["spec/plugins/cors_spec.lua"] = "-- a\n",
      ["spec/fuzz/head_fuzz.c"] = "/* a */\n", ["spec/fuzz/corpus/head/one"] = "a",
    }
    for path, text in pairs(changes) do
      files[path] = text or nil
    end
    return lint("facts", files)
  end

  it("hold in a tree that is in order", function()
    assert_good(facts({}))
  end)

  it("miss what is not there", function()
    for _, path in ipairs({ "lua/README.md", "core/base/a.h", "plugins/cors/README.md",
      "spec/plugins/cors_spec.lua" }) do
      assert_bad(path .. ": missing", facts({ [path] = false }))
    end
    assert_bad("spec/fuzz/corpus/head: missing: seeds", facts({ ["spec/fuzz/corpus/head/one"] = false }))
  end)

  it("refuse a wrong guard, a missing opening comment and a test without its unit", function()
    assert_bad("needs the include guard TG_BASE_A_H", facts({ ["core/base/a.h"] = "/* a */\n#ifndef A_H\n" }))
    assert_bad("core/base/a.c: opens without", facts({ ["core/base/a.c"] = "int a;\n" }))
    assert_bad("tests core/base/b.c", facts({ ["spec/core/base/b_test.c"] = "/* a */\n" }))
  end)

  it("refuse unfinished work and specs that sleep", function()
    assert_bad("core/base/a.c:2: TO" .. "DO", facts({ ["core/base/a.c"] = "/* a */\n/* TO" .. "DO */\n" }))
    assert_bad("spec/x_spec.lua:2: specs do not", facts({
      ["spec/x_spec.lua"] = "-- a\nunistd.sleep" .. "(1)\n",
    }))
  end)
end)
