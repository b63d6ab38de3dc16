/**
 * The Linux image as a container runtime starts it: unpacked layers as a root folder that cannot be written, the image's own
 * user, environment and entrypoint, and no way to more privileges.
 * @module
 */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, GuardedProcess, type CommandResult } from "../guarded-process.ts";
import type { BuiltImage } from "./built-image.ts";

/** A folder of this machine that a container sees. */
export interface Mount {
  readonly from: string;
  /** Inside, absolute. */
  readonly to: string;
  readonly writable: boolean;
}

export interface ContainerOptions {
  readonly mounts?: readonly Mount[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Instead of the image's own. */
  readonly entrypoint?: readonly string[];
}

/** Arguments: root folder, user, then `FROM TO ro|rw` for each mount, `--`, and the command. */
const script = `
set -e
root=$1 user=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /proc "$root/proc"
mount --bind /dev/null "$root/dev/null"
mount --bind /dev/urandom "$root/dev/urandom"
while [ "$1" != -- ]; do
  mount --bind "$1" "$root$2"
  mount -o "remount,bind,$3" "$root$2"
  shift 3
done
shift
cd /
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
`;

export class ImageContainers {
  readonly #image: BuiltImage;
  readonly #root: string;

  private constructor(image: BuiltImage, root: string) {
    this.#image = image;
    this.#root = root;
  }

  /** Unpacks the image, and makes the mount points that a runtime makes. */
  static async create(image: BuiltImage, root: string): Promise<ImageContainers> {
    await image.unpack(root);
    for (const folder of ["proc", "dev"]) mkdirSync(join(root, folder));
    for (const device of ["null", "urandom"]) writeFileSync(join(root, "dev", device), "");
    return new ImageContainers(image, root);
  }

  /** Makes a folder of this machine the image's user's own. */
  own(folder: string): void {
    const [user, group] = (this.#image.config.config.User ?? "").split(":").map(Number);
    chownSync(folder, user ?? NaN, group ?? NaN);
  }

  /** Runs to the end. */
  run(args: readonly string[], options: ContainerOptions = {}): Promise<CommandResult> {
    const [command, words, environment] = this.#command(args, options);
    return runCommand(command, words, { environment });
  }

  start(args: readonly string[], logFile: string, options: ContainerOptions = {}): GuardedProcess {
    const [command, words, environment] = this.#command(args, options);
    return new GuardedProcess(command, words, { logFile, environment });
  }

  #command(
    args: readonly string[],
    { mounts = [], environment = {}, entrypoint }: ContainerOptions,
  ): readonly [string, readonly string[], Readonly<Record<string, string | undefined>>] {
    const { config } = this.#image.config;
    for (const { to } of mounts) mkdirSync(join(this.#root, to), { recursive: true });
    const words = [
      ...["--mount", "--", "sh", "-c", script, "sh", this.#root, config.User ?? ""],
      ...mounts.flatMap(({ from, to, writable }) => [from, to, writable ? "rw" : "ro"]),
      "--",
      ...(entrypoint ?? config.Entrypoint),
      ...args,
    ];
    const own = Object.fromEntries(
      config.Env.filter((pair) => !pair.startsWith("PATH=")).map((pair) => pair.split("=", 2)),
    ) as Readonly<Record<string, string>>;
    return ["unshare", words, { ...own, HOME: "/tmp", KUBECONFIG: undefined, ...environment }];
  }
}
