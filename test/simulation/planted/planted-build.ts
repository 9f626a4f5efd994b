import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PlantedBug } from './planted-bug.js'

const dist = fileURLToPath(new URL('../../../', import.meta.url))

/** A copy of the build in a folder of its own, in which bugs can be switched on one at a time. */
export class PlantedBuild {
  readonly folder: string
  /** Files as they were, by path. */
  readonly #originals = new Map<string, string>()

  static async make(): Promise<PlantedBuild> {
    const folder = await mkdtemp(join(tmpdir(), 'daybook-planted-'))
    for (const part of ['src', 'test/simulation', 'test/actors']) {
      await cp(join(dist, part), join(folder, part), { recursive: true })
    }
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await symlink(join(dist, '../node_modules'), join(folder, 'node_modules'))
    return new PlantedBuild(folder)
  }

  private constructor(folder: string) {
    this.folder = folder
  }

  /** The program that runs worlds in this build. */
  get simulator(): string {
    return join(this.folder, 'test/simulation/simulate.js')
  }

  /** Switches one bug on, and whatever was on before off. Rejects if a text is not there once. */
  async plant(bug: PlantedBug): Promise<void> {
    await this.clear()
    for (const { file, from, to } of bug.patches) {
      const path = join(this.folder, file)
      const text = await readFile(path, 'utf8')
      const found = text.split(from).length - 1
      if (found !== 1) throw new Error(`"${bug.name}": ${file} has ${found} times: ${from}`)
      if (!this.#originals.has(path)) this.#originals.set(path, text)
      await writeFile(
        path,
        text.replace(from, () => to),
      )
    }
  }

  async clear(): Promise<void> {
    for (const [path, text] of this.#originals) await writeFile(path, text)
    this.#originals.clear()
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }
}
