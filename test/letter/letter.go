// Package letter writes messages as the Delta Chat core 2.57 does: an outer
// header that says nothing, PGP/MIME, two key packets and one of encrypted
// data, armored. Only the lengths and versions of the packets mean something;
// the rest is noise.
package letter

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Size is what a message of ordinary length has in octets, about.
const Size = 5000

// Writer makes messages of one author that differ in their Message-ID only.
// One goroutine uses it.
type Writer struct {
	prefix string // of Message-IDs
	count  int
	head   []byte // around the Message-ID
	tail   []byte
}

// New makes a Writer. prefix begins every Message-ID, from is the author's
// address; size is about what a message has in octets, 1500 to 1 << 20.
func New(prefix, from string, size int) *Writer {
	seed := [32]byte{}
	copy(seed[:], prefix)
	noise := rand.NewChaCha8(seed)
	const boundary = "18ea60f9a0668a22_2905d48448c923b1_9750db5426fd042d"
	w := &Writer{prefix: prefix}
	w.head = fmt.Appendf(nil, "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; \r\n\tboundary=\"%s\"\r\n"+
		"MIME-Version: 1.0\r\nFrom: <%s>\r\nTo: \"hidden-recipients\": ;\r\nSubject: [...]\r\n"+
		"Date: Fri, 20 Nov 2026 21:15:44 +0000\r\n", boundary, from)
	var body bytes.Buffer
	fmt.Fprintf(&body, "Chat-Version: 1.0\r\n\r\n\r\n--%s\r\n"+
		"Content-Type: application/pgp-encrypted; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\nVersion: 1\r\n\r\n--%s\r\n"+
		"Content-Type: application/octet-stream; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n", boundary, boundary)
	// What is left after header and armor, at 3 octets in 4 characters and
	// 66 octets a line.
	data := (size - len(w.head) - body.Len() - 300) * 64 / 66 * 3 / 4
	body.Write(armor(packets(noise, data)))
	fmt.Fprintf(&body, "\r\n--%s--\r\n", boundary)
	w.tail = body.Bytes()
	return w
}

// Next gives one more message, with a Message-ID of its own. It ends in CRLF,
// has no line that begins with a dot, and belongs to the caller.
func (w *Writer) Next() (messageID string, content []byte) {
	w.count++
	messageID = fmt.Sprintf("%s-%d@localhost", w.prefix, w.count)
	content = make([]byte, 0, len(w.head)+len(w.tail)+100)
	content = append(content, w.head...)
	content = fmt.Appendf(content, "Message-ID: <%s>\r\n", messageID)
	return messageID, append(content, w.tail...)
}

// packets gives two public-key encrypted session keys for nobody in
// particular (RFC 9580 section 5.1, version 6 with ECDH) and encrypted data
// (section 5.13.2, version 2 with AES-128 and OCB), size octets together.
func packets(noise *rand.ChaCha8, size int) []byte {
	var out []byte
	for range 2 {
		body := make([]byte, 71)
		noise.Read(body)
		copy(body, []byte{6, 0, 18, 0x01, 0x07, 0x40}) // version, no key named, ECDH, a point of 263 bits
		body[6+32] = byte(len(body) - 6 - 32 - 1)      // the wrapped key
		out = append(append(out, 0xc1, byte(len(body))), body...)
	}
	body := make([]byte, size-len(out)-3)
	noise.Read(body)
	copy(body, []byte{2, 7, 2, 6}) // version, AES-128, OCB, chunks of 4 KiB
	out = append(out, 0xd2)
	if long := len(body) - 192; long < 8192 { // two octets (RFC 9580 section 4.2.1)
		out = append(out, byte(long>>8)+192, byte(long))
	} else {
		out = binary.BigEndian.AppendUint32(append(out, 255), uint32(len(body)))
	}
	return append(out, body...)
}

// armor gives a message in ASCII armor with its checksum (RFC 9580 section 6).
func armor(data []byte) []byte {
	var out bytes.Buffer
	out.WriteString("-----BEGIN PGP MESSAGE-----\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 0 {
		n := min(64, len(text))
		out.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	crc := crc24(data)
	sum := base64.StdEncoding.EncodeToString([]byte{byte(crc >> 16), byte(crc >> 8), byte(crc)})
	out.WriteString("=" + sum + "\r\n-----END PGP MESSAGE-----\r\n")
	return out.Bytes()
}

// crc24 is the checksum of RFC 9580 section 6.1.1.
func crc24(data []byte) uint32 {
	crc := uint32(0xb704ce)
	for _, b := range data {
		crc ^= uint32(b) << 16
		for range 8 {
			crc <<= 1
			if crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return crc & 0xffffff
}
