// node bytecode.mjs FOLDER: bytecode.py, in the Pyodide of that folder, which it sees as /archives.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const folder = path.resolve(process.argv[2]);
const { loadPyodide } = await import(pathToFileURL(path.join(folder, "pyodide.mjs")));
const python = await loadPyodide({ indexURL: folder });
const { packages } = JSON.parse(fs.readFileSync(path.join(folder, "pyodide-lock.json"), "utf8"));
await python.loadPackage(Object.keys(packages), { messageCallback() {} });
python.FS.mkdir("/archives");
python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/archives");
await python.runPythonAsync(fs.readFileSync(new URL("bytecode.py", import.meta.url), "utf8"));
