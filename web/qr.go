package web

import (
	"fmt"
	"html/template"
	"strings"

	qrcode "github.com/skip2/go-qrcode"
)

// pngSize is the width of the invitation's image, in pixels.
const pngSize = 384

// invitePNG draws the invitation for printing: a third of it may be covered.
func invitePNG(uri string) []byte {
	out, err := code(uri, qrcode.Highest).PNG(pngSize)
	if err != nil {
		panic("web: a bitmap in memory is always a PNG: " + err.Error())
	}
	return out
}

// code encodes a link. A code takes 1273 octets at the highest level and 2331
// at the medium one; the longest domain, name and password make less.
func code(uri string, level qrcode.RecoveryLevel) *qrcode.QRCode {
	c, err := qrcode.New(uri, level)
	if err != nil {
		panic("web: a link too long for a QR code: " + err.Error())
	}
	return c
}

// qrSVG draws a link for screens, dark on light in any colour scheme, with
// the quiet zone that readers need and a label for those who cannot see it. One unit is one module; each run of dark
// modules in a row is one rectangle of the path.
func qrSVG(uri, label string) template.HTML {
	rows := code(uri, qrcode.Medium).Bitmap()
	b := &strings.Builder{}
	fmt.Fprintf(b, `<svg class="qr" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" shape-rendering="crispEdges">`, len(rows), len(rows), template.HTMLEscapeString(label))
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, len(rows), len(rows))
	for y, row := range rows {
		for x := 0; x < len(row); x++ {
			from := x
			for x < len(row) && row[x] {
				x++
			}
			if n := x - from; n > 0 {
				fmt.Fprintf(b, "M%d %dh%dv1h-%dz", from, y, n, n)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String())
}
