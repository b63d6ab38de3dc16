/**
 * What the values of a chart are made of. Every value is declared once, here and in the file of its chart: with its form,
 * its default, a sentence and an example. `values.yaml`, `values.schema.json`, the files in `ci/` and the table in
 * `docs/reference/charts.md` are made from that.
 * @module
 */
import { z } from "zod";
import { logLevels } from "../../src/observe/log.ts";

/** A declared value: a sentence for people, and another value than the default to try the chart with. */
export interface About {
  readonly about: string;
  /** What `ci/` sets it to. */
  readonly example: unknown;
  /** What else has to be set for the example to make sense. */
  readonly with?: Readonly<Record<string, unknown>>;
}

/** A value with a default. */
export function value<T extends z.ZodType>(form: T, otherwise: z.input<T>, about: About): z.ZodType {
  return form.default(otherwise as never).meta({
    description: about.about,
    otherwise,
    example: about.example,
    ...companion(about),
  });
}

/** A value that is absent unless somebody sets it. */
export function optionalValue(form: z.ZodType, about: About): z.ZodType {
  return form.optional().meta({ description: about.about, example: about.example, ...companion(about) });
}

/** A value of a chart that came before: accepted so that old files still work, without effect. */
export function formerValue(about: string): z.ZodType {
  return z.unknown().optional().meta({ description: about, deprecated: true });
}

function companion(about: About): { readonly with?: unknown } {
  return about.with === undefined ? {} : { with: about.with };
}

/** Values under one name. */
export function group(about: string, shape: Readonly<Record<string, z.ZodType>>): z.ZodType {
  return z.strictObject(shape).optional().meta({ description: about });
}

export const text = z.string();
export const flag = z.boolean();
/** Whatever Kubernetes takes in this place; the API server judges it. */
export const anyObject = z.record(z.string(), z.unknown());
export const anyList = z.array(anyObject);
/** Labels, annotations and selectors: Kubernetes takes nothing but texts, so a number needs quotes. */
export const textMap = z.record(z.string(), z.string());
export const texts = z.array(z.string());
/** As the commands read it (`durationMs`). */
export const duration = z.string().regex(/^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)$/);
/** As Go reads it, and so cert-manager: `2160h`, `87600h0m0s`. */
export const goDuration = z.string().regex(/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/);
export const port = z.int().min(0).max(65_535);
/** RFC 1123 subdomain, as the settings check it, or nothing. */
export const objectName = z
  .string()
  .max(253)
  .regex(/^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$/);
/** RFC 1123 label, or nothing. */
export const label = z
  .string()
  .max(63)
  .regex(/^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$/);
export const logLevel = z.enum(logLevels);

/** What every chart has besides its own values; the names are those of the charts that came before. */
export function commonValues(image: string): Readonly<Record<string, z.ZodType>> {
  return {
    global: z
      .looseObject({
        imagePullSecrets: value(anyList, [], {
          about: "Names of Secrets to pull images with, for every pod.",
          example: [{ name: "registry" }],
        }),
        systemDefaultRegistry: value(text, "", {
          about: "Registry that every image is taken from, as windows-gmsa's chart names it.",
          example: "registry.example",
        }),
        cattle: z
          .looseObject({
            systemDefaultRegistry: value(text, "", {
              about: "Registry that every image is taken from.",
              example: "registry.example",
            }),
          })
          .optional()
          .meta({ description: "As Rancher sets it; it comes first." }),
      })
      .optional()
      .meta({ description: "What a chart above this one hands down." }),
    enabled: formerValue("For the `condition` of a chart that has this one as a dependency."),
    nameOverride: value(label, "", {
      about: "Name of the objects instead of the release's.",
      example: "another-name",
    }),
    namespaceOverride: value(label, "", {
      about: "Namespace of the objects instead of the release's.",
      example: "default",
    }),
    image: group("The image.", imageValues(image)),
  };
}

export function imageValues(repository: string): Readonly<Record<string, z.ZodType>> {
  return {
    repository: value(text, repository, {
      about: "Where the image lies.",
      example: "registry.example/sallyport",
    }),
    tag: value(text, "", { about: "Its tag; empty: the chart's `appVersion`.", example: "0.0.9" }),
    imagePullPolicy: value(z.enum(["IfNotPresent", "Always", "Never"]), "IfNotPresent", {
      about: "When to pull it.",
      example: "Always",
    }),
  };
}

/** An image that is the chart's own unless it is said otherwise, value by value. */
export function otherImageValues(): Readonly<Record<string, z.ZodType>> {
  return {
    repository: value(text, "", {
      about: "Where the image lies; empty: `image.repository`.",
      example: "registry.example/other",
    }),
    tag: value(text, "", { about: "Its tag; empty: `image.tag`.", example: "0.0.9" }),
    imagePullPolicy: value(z.enum(["", "IfNotPresent", "Always", "Never"]), "", {
      about: "When to pull it; empty: `image.imagePullPolicy`.",
      example: "Always",
    }),
  };
}

/** Where pods run and what they may use. */
export function podValues(options: {
  readonly resources: object;
  readonly priorityClass: string;
}): Readonly<Record<string, z.ZodType>> {
  return {
    nodeSelector: value(
      textMap,
      {},
      {
        about: "More labels that a node must have.",
        example: { pool: "legacy" },
      },
    ),
    affinity: value(
      anyObject,
      {},
      {
        about: "Affinity of the pods.",
        example: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: [{ key: "zone", operator: "Exists" }] }],
            },
          },
        },
      },
    ),
    tolerations: value(anyList, [], {
      about: "More taints that the pods tolerate.",
      example: [{ key: "pool", operator: "Equal", value: "legacy", effect: "NoSchedule" }],
    }),
    resources: value(anyObject, options.resources as Record<string, unknown>, {
      about: "Resources of the container.",
      example: { requests: { cpu: "75m", memory: "192Mi" } },
    }),
    priorityClassName: value(text, options.priorityClass, {
      about: "Priority class of the pods; empty: none.",
      example: "",
    }),
    podAnnotations: value(
      textMap,
      {},
      {
        about: "Annotations of the pods.",
        example: { "example.com/team": "identity" },
      },
    ),
    podLabels: value(textMap, {}, { about: "More labels of the pods.", example: { team: "identity" } }),
    extraArgs: value(texts, [], {
      about: "More arguments for the program, after the chart's own.",
      example: ["--log-level=warn"],
    }),
    extraEnv: value(anyList, [], {
      about: "More environment variables.",
      example: [{ name: "NODE_OPTIONS", value: "--max-old-space-size=128" }],
    }),
  };
}

/** For pods on Windows hosts. */
export function windowsValues(): Readonly<Record<string, z.ZodType>> {
  return {
    defaultTolerations: value(flag, true, {
      about: "Tolerate the taints that Windows nodes usually carry.",
      example: false,
    }),
    securityContext: value(
      anyObject,
      { windowsOptions: { hostProcess: true, runAsUserName: "NT AUTHORITY\\SYSTEM" } },
      {
        about: "Security context of pod and container: it works on the host itself.",
        example: { windowsOptions: { hostProcess: true, runAsUserName: "BUILTIN\\Administrators" } },
      },
    ),
    updateStrategy: value(
      anyObject,
      { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } },
      { about: "How a new version replaces the old one.", example: { type: "OnDelete" } },
    ),
  };
}

export function networkPolicyValues(more: Readonly<Record<string, z.ZodType>> = {}): z.ZodType {
  return group("What the network lets through. Pods on the host's network are outside its reach.", {
    enabled: value(flag, true, { about: "Make a NetworkPolicy.", example: false }),
    apiServerPorts: value(z.array(port), [443, 6443], {
      about: "Ports of the API server, to which the pods may connect.",
      example: [8443],
    }),
    ...more,
  });
}

/** What removes things from hosts after `helm uninstall`. */
export function cleanupValues(what: string): z.ZodType {
  return group(`What happens after \`helm uninstall\`: ${what}.`, {
    enabled: value(flag, true, { about: "Do it at all.", example: false }),
    timeout: value(duration, "3m", {
      about:
        "How long to wait for nodes; those that were not reached are named and left. Keep it two minutes below Helm's own `--timeout` (5m).",
      example: "90s",
    }),
    image: group("The Linux image of the Job that waits.", cleanupImageValues()),
    tolerations: value(anyList, [], {
      about: "Taints that the Job's pod tolerates.",
      example: [{ operator: "Exists" }],
    }),
    nodeSelector: value(
      textMap,
      {},
      {
        about: "More labels that the Job's node must have.",
        example: { pool: "system" },
      },
    ),
  });
}

/** The chart's own image is the Windows one, in another repository; both are made of the same version. */
function cleanupImageValues(): Readonly<Record<string, z.ZodType>> {
  return {
    ...otherImageValues(),
    repository: value(text.min(1), "sallyport/sallyport", {
      about: "Where the Linux image lies; `image.repository` has the Windows one.",
      example: "registry.example/sallyport",
    }),
  };
}
