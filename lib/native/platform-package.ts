import { type InstalledPackage, installedPackage } from "./installed-package.js";

/** Names of the packages made for an operating system and processor, the C library of this process first; none where none is made. */
export function platformPackageNames(platform: string, arch: string, glibc: boolean): string[] {
  if (platform !== "linux" || !["x64", "arm64"].includes(arch)) return [];
  const libraries = glibc ? ["gnu", "musl"] : ["musl", "gnu"];
  return libraries.map((library) => `echo-grpo-${platform}-${arch}-${library}`);
}

function hasGlibc(): boolean {
  // Naming the other ends of sockets may wait for a name server.
  const settings = process.report as { excludeNetwork?: boolean };
  const { excludeNetwork } = settings;
  settings.excludeNetwork = true;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  settings.excludeNetwork = excludeNetwork;
  return report.header?.glibcVersionRuntime !== undefined;
}

/** The installed package with the addon for this machine, if there is one. Opens nothing native. */
export function platformPackage(): InstalledPackage | undefined {
  const names = platformPackageNames(process.platform, process.arch, true);
  const installed = names.map(installedPackage).filter((one) => one !== undefined);
  // The installer has chosen by C library; a report costs tens of milliseconds, so it is asked only after one that did not choose.
  if (installed.length < 2) return installed[0];
  return installed[hasGlibc() ? 0 : 1];
}
