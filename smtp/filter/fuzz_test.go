package filter

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// cutter draws the lengths of pieces from seed.
func cutter(seed uint64) func(int) int {
	return func(int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33)%(1<<(seed>>61)+1) + 1
	}
}

// FuzzWalk: a verdict does not depend on how the message was cut, and not on
// what is written after it.
func FuzzWalk(f *testing.F) {
	for _, s := range samples(f) {
		if len(s.content) < 5000 {
			f.Add(s.content, uint64(len(s.content)), false)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, seed uint64, incoming bool) {
		d := Outgoing
		if incoming {
			d = Incoming
		}
		whole := New(d)
		whole.Write(content)
		v := whole.Verdict()
		if v.Pass() != (v.Why == noRule) {
			t.Fatalf("%v because of %q", v.Kind, v.Why)
		}
		whole.Write([]byte("more"))
		for _, again := range []Verdict{whole.Verdict(), inPieces(New(d), content, cutter(seed)), inPieces(New(d), content, func(int) int { return 1 })} {
			if again != v {
				t.Fatalf("in pieces %v %v, whole %v %v", again.Kind, again.Why, v.Kind, v.Why)
			}
		}
	})
}

// readArmor is the armor reader with what it decodes.
func readArmor(drop bool, text []byte, cut func(int) int) (octets []byte, why Rule) {
	var way way
	var out bytes.Buffer
	a := newArmor(&way, drop, &out)
	for len(text) > 0 {
		n := min(cut(len(text)), len(text))
		a.Write(text[:n])
		text = text[n:]
	}
	a.finish()
	return out.Bytes(), way.closed
}

// slowArmor is what the rules say, word by word, over the whole text.
func slowArmor(drop bool, text string) ([]byte, bool) {
	text, ok := strings.CutPrefix(text, armorBegin) // A1
	for strings.HasSuffix(text, "\r\n") {           // A2
		text = text[:len(text)-2]
	}
	text, ended := strings.CutSuffix(text, armorEnd)
	if !ok || !ended || text != "" && !strings.HasSuffix(text, "\n") {
		return nil, false
	}
	if strings.HasPrefix(text, armorField) { // A3
		line, rest, _ := strings.Cut(text, "\n")
		if !drop || count(line) > maxLine {
			return nil, false
		}
		text = rest
	}
	var data strings.Builder // A4 to A6
	summed := false
	for line := range strings.SplitSeq(text, "\n") {
		octets := strings.ReplaceAll(line, "\r", "")
		switch {
		case len(octets) > maxLine:
			return nil, false
		case octets == "":
		case summed:
			return nil, false
		case len(octets) == 5 && octets[0] == '=' && isBase64([]byte(octets[1:])):
			summed = true
		default:
			data.WriteString(octets)
		}
	}
	b, err := base64.StdEncoding.Strict().DecodeString(data.String())
	return b, err == nil
}

func count(s string) int { return len(s) - strings.Count(s, "\r") }

// FuzzArmor: the reader decides as a slow one, in whatever pieces; and what it
// takes, go-crypto takes for the same octets.
func FuzzArmor(f *testing.F) {
	good := armored([]byte("\xc1\x02\x03\x04\xd2\x02\x01\x02"))
	for _, s := range []string{
		good, strings.Replace(good, "\r\n\r\n", "\r\nVersion: 1\r\n", 1), strings.Replace(good, "=AAAA\r\n", "", 1),
		strings.Replace(good, "\r\n\r\n", "\r\n", 1), good + "x", good + "\r\n\r\n", strings.Replace(good, "=AAAA", "=AAA", 1),
		armorBegin + "QU\rI\n=\r\n=abcd\n\r\r\n" + armorEnd, armorBegin + armorEnd, armorBegin + "\r" + armorEnd,
		armorBegin + "Version: " + strings.Repeat("x", 1000) + "\r\nQUJD\r\n" + armorEnd,
		armorBegin + strings.Repeat("QUJD", 250) + "\r\n" + armorEnd, armorBegin + "VersQUJD\r\n" + armorEnd,
	} {
		f.Add([]byte(s), uint64(1), false)
		f.Add([]byte(s), uint64(2), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64, drop bool) {
		octets, why := readArmor(drop, text, func(n int) int { return n })
		if again, whyAgain := readArmor(drop, text, cutter(seed)); why != whyAgain || why == noRule && !bytes.Equal(octets, again) {
			t.Fatalf("in pieces %v %x, whole %v %x", whyAgain, again, why, octets)
		}
		slow, ok := slowArmor(drop, string(text))
		if ok != (why == noRule) || ok && !bytes.Equal(slow, octets) {
			t.Fatalf("%v %x, but slowly %v %x", why, octets, ok, slow)
		}
		if why != noRule || len(text) > 10000 {
			return
		}
		block, err := pgparmor.Decode(bytes.NewReader(text))
		if err != nil {
			return // it wants the empty line that A4 does not
		}
		if theirs, err := io.ReadAll(block.Body); err == nil && len(block.Header) == 0 && !bytes.Equal(theirs, octets) {
			t.Fatalf("%x, but go-crypto reads %x", octets, theirs)
		}
	})
}

// walkPackets is the packet walk alone.
func walkPackets(data []byte, cut func(int) int) (Packets, Rule) {
	var way way
	w := packets{way: &way}
	for len(data) > 0 {
		n := min(cut(len(data)), len(data))
		w.Write(data[:n])
		data = data[n:]
	}
	w.finish()
	if !way.open() {
		return Packets{}, way.closed
	}
	return w.packets(), noRule
}

// theirPackets lets go-crypto walk, as far as it can be let: it does not mind
// indeterminate lengths and pieces where they must not be, so these are looked
// at in front of each packet.
func theirPackets(data []byte) (found Packets, ok bool) {
	r := bytes.NewReader(data)
	for {
		rest := data[len(data)-r.Len():]
		if len(rest) == 0 {
			return found, false
		}
		tag := int(rest[0] & 0x3f)
		switch {
		case rest[0]&0x80 == 0:
			return found, false
		case rest[0]&0x40 == 0:
			if tag >>= 2; rest[0]&3 == 3 {
				return found, false
			}
		case len(rest) > 1 && rest[1] >= 224 && rest[1] < 255 && tag != tagSEIPD:
			return found, false
		}
		if end := packetEnd(rest); end < 0 || tag != tagPKESK && tag != tagSKESK && (tag != tagSEIPD || end != len(rest)) {
			return found, false
		}
		p, err := packet.Read(r)
		var unsupported pgperrors.UnsupportedError
		switch p := p.(type) {
		case *packet.EncryptedKey:
			found.PKESK++
		case *packet.SymmetricKeyEncrypted:
			found.SKESK++
		case *packet.SymmetricallyEncrypted:
			if err == nil {
				found.SEIPD = p.Version
				_, err = io.Copy(io.Discard, p.Contents)
				return found, err == nil && r.Len() == 0
			}
			return found, errors.As(err, &unsupported) || tag == tagSEIPD
		default:
			return found, false
		}
		// What it says of the inside of a key is no matter, but that it
		// has read what belongs to it, is.
		if at := len(data) - r.Len(); err == nil && at > len(data)-len(rest)+packetEnd(rest) {
			return found, false
		}
		r = bytes.NewReader(rest[packetEnd(rest):])
		data = rest[packetEnd(rest):]
	}
}

// packetEnd tells where the first packet of b ends, as go-crypto's own header
// reader has it: -1 when that is behind the end. OpaqueReader keeps whole
// packets, which a test may.
func packetEnd(b []byte) int {
	r := bytes.NewReader(b)
	if _, err := packet.NewOpaqueReader(r).Next(); err != nil {
		return -1
	}
	return len(b) - r.Len()
}

// FuzzPackets: the walk decides as one with go-crypto's reader.
func FuzzPackets(f *testing.F) {
	for _, s := range []string{
		"\xc1\x02\x03\x04\xd2\x02\x01\x02", "\xd2\x00", "\xd2\xe1\x01\x02\xe0\x03\x00", "\x84\x01\x03\x85\x00\x01\x03\x86\x00\x00\x00\x01\x03\xd2\x01\x01",
		"\x87\xd2\x01\x01", "\xc1\xe0\x03\x00\xd2\x01\x01", "\xca\x03PGP\xd2\x01\x01", "\xd2\xc0\x00", "\xd2\xff\x00\x00\x00\x01\x01", "\xcb\x12b\x00\x00\x00\x00\x00Hello, world",
		"\xc3\x02\x05\x00\xd2\x01\x02", "\xd2\x28\x02\x07\x02\x07" + strings.Repeat("x", 36), "\xd2\x01\x01\xc1\x01\x03",
	} {
		f.Add([]byte(s), uint64(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		found, why := walkPackets(data, func(n int) int { return n })
		if again, whyAgain := walkPackets(data, cutter(seed)); again != found || whyAgain != why {
			t.Fatalf("in pieces %v %v, whole %v %v", whyAgain, again, why, found)
		}
		theirs, ok := theirPackets(data)
		if ok != (why == noRule) || ok && theirs != found {
			t.Fatalf("%q %+v, but with go-crypto %v %+v", why, found, ok, theirs)
		}
	})
}
