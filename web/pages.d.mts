export const PAGES: readonly { name: string; gzipKilobytesMax: number }[];
