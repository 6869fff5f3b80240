// Numbers as in all texts of a report: three places, two digits of what these would hide, and powers of ten below that.
function numberText(value) {
  const size = Math.abs(value);
  if (size >= 1.5e-3 || size === 0) return (size && value).toFixed(3).replace("-", "\u2212");
  const places = 1 - Math.floor(Math.log10(size));
  return (places <= 6 ? value.toFixed(places) : value.toExponential(1)).replace(/^-/, "\u2212");
}
function signedText(value) { return (value > 0 ? "+" : "") + numberText(value); }
