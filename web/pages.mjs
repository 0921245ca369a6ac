// The pages: NAME.html is the entry, src/NAME/ its own code. One line more is one page more; what it may weigh over the
// wire (JavaScript and style sheets, gzip) is checked after every build.
export const PAGES = [
  { name: 'kiosk', gzipKilobytesMax: 60 },
  { name: 'till', gzipKilobytesMax: 120 },
  { name: 'desk', gzipKilobytesMax: 120 },
];
