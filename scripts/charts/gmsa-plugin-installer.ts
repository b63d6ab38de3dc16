/**
 * Values of the chart `gmsa-plugin-installer`.
 * @module
 */
import { z } from "zod";
import {
  cleanupValues,
  commonValues,
  duration,
  flag,
  formerValue,
  group,
  networkPolicyValues,
  podValues,
  value,
  windowsValues,
} from "./values.ts";

export const gmsaPluginInstallerValues = z.strictObject({
  ...commonValues("sallyport/sallyport-windows"),
  takeOver: value(flag, false, {
    about:
      "Take the class ids also where another plugin has them: Rancher's, and Microsoft's with `answerKeyVaultPlugin`.",
    example: true,
  }),
  answerKeyVaultPlugin: value(flag, false, {
    about:
      "Answer to the class id of Microsoft's Azure Key Vault plugin, too ([when](../how-to/install-ccg-plugin.md)).",
    example: true,
  }),
  authenticatedUsers: value(flag, false, {
    about: "Let every authenticated user start the plugin: for hosts whose CCG event 4 says 0x80070005.",
    example: true,
  }),
  interval: value(duration, "30s", {
    about: "How often each host is looked at and repaired.",
    example: "5m",
  }),
  readinessProbe: group("A pod is ready while the plugin is installed and registered on its host.", {
    enabled: value(flag, true, { about: "Ask `sallyport plugin status`.", example: false }),
    periodSeconds: value(z.int().min(10), 60, { about: "How often.", example: 120 }),
  }),
  pause: formerValue("The installer stays by itself."),
  ...podValues({
    resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "256Mi" } },
    priorityClass: "system-node-critical",
  }),
  ...windowsValues(),
  networkPolicy: networkPolicyValues(),
  cleanup: cleanupValues("the plugin is removed from the hosts"),
});
