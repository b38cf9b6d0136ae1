package filter

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// encrypted makes an encrypted message whose data packet has n octets.
func encrypted(n int, partial bool) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var data bytes.Buffer
	for range 2 {
		data.Write([]byte{0xc1, 71, 6})
		for range 70 {
			data.WriteByte(byte(r.Uint32()))
		}
	}
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	copy(body, []byte{2, 7, 2, 7})
	data.WriteByte(0xd2)
	if partial {
		for len(body) > 1<<13 {
			data.WriteByte(224 + 13)
			data.Write(body[:1<<13])
			body = body[1<<13:]
		}
	}
	data.Write([]byte{255, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))})
	data.Write(body)

	var m bytes.Buffer
	m.WriteString("From: <alice@relay.test>\r\nDate: Sat, 21 Nov 2026 01:58:47 +0000\r\nMessage-ID: <x@localhost>\r\n" +
		"MIME-Version: 1.0\r\nTo: \"hidden-recipients\": ;\r\nSubject: [...]\r\nChat-Version: 1.0\r\n" +
		"Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; \r\n\tboundary=\"18ea5ef976cc6d0d_3764ca5c2b038729_743fbedb605d9fc5\"\r\n" +
		"\r\n\r\n--18ea5ef976cc6d0d_3764ca5c2b038729_743fbedb605d9fc5\r\nContent-Type: application/pgp-encrypted; charset=\"utf-8\"\r\n" +
		"Content-Transfer-Encoding: 7bit\r\n\r\nVersion: 1\r\n\r\n--18ea5ef976cc6d0d_3764ca5c2b038729_743fbedb605d9fc5\r\n" +
		"Content-Type: application/octet-stream; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(data.Bytes())
	for len(text) > 0 {
		k := min(len(text), 64)
		m.WriteString(text[:k])
		m.WriteString("\r\n")
		text = text[k:]
	}
	m.WriteString("=AAAA\r\n-----END PGP MESSAGE-----\r\n\r\n--18ea5ef976cc6d0d_3764ca5c2b038729_743fbedb605d9fc5--\r\n\r\n")
	return m.Bytes()
}

// processorTime is what this process used of the processors, the collector
// included.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// walk writes content as the server reads it: in pieces of 16 KiB.
func walk(content []byte) Verdict {
	w := New(Outgoing)
	for len(content) > 0 {
		n := min(len(content), 16<<10)
		w.Write(content[:n])
		content = content[n:]
	}
	return w.Verdict()
}

func BenchmarkWalk(b *testing.B) {
	for _, c := range []struct {
		name    string
		octets  int
		partial bool
	}{{"3kB", 2000, false}, {"10kB", 6700, false}, {"30MiB", 23 << 20, false}, {"30MiB-partial", 23 << 20, true}} {
		content := encrypted(c.octets, c.partial)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			start, n := processorTime(), 0
			for b.Loop() {
				if v := walk(content); v.Kind != Encrypted {
					b.Fatal(v.Kind, v.Why)
				}
				n++
			}
			// What others do on the machine at the time does not count.
			spent := processorTime() - start
			b.ReportMetric(float64(n)*float64(len(content))/1e6/spent.Seconds(), "MB/cpu-s")
		})
	}
	// What the worst senders can make of it.
	for name, piece := range map[string]string{
		"hyphens": "-------\r\n--x\r\n", "empty-lines": "\r\n", "short-lines": "wQHB\r\n", "tiny-packets": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("\xc1\x00\xc1\x00\xc1\x00"), 8)) + "\r\n",
	} {
		head := "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n"
		content := append([]byte(head), bytes.Repeat([]byte(piece), (4<<20)/len(piece))...)
		b.Run(fmt.Sprintf("hostile-%s", name), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				walk(content)
			}
		})
	}
}

// One message of 30 MiB may cost 256 KiB of heap, and in all as little.
func TestMemoryStaysTheSameWhateverTheSize(t *testing.T) {
	content := encrypted(23<<20, true)
	if len(content) < 30<<20 {
		t.Fatalf("%d octets", len(content))
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := New(Outgoing)
	var peak uint64
	for i := 0; len(content) > 0; i++ {
		n := min(len(content), 16<<10)
		w.Write(content[:n])
		content = content[n:]
		if i%100 == 0 {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
		}
	}
	v := w.Verdict()
	runtime.ReadMemStats(&now)
	total, count := now.TotalAlloc-before.TotalAlloc, now.Mallocs-before.Mallocs
	t.Logf("peak growth %d octets, %d octets allocated in all, in %d pieces", peak, total, count)
	if v.Kind != Encrypted || peak > 256<<10 || total > 256<<10 {
		t.Errorf("%v %v, peak growth %d, allocated %d", v.Kind, v.Why, peak, total)
	}
}

// No message makes a Walk keep more than the best one does.
func TestHostileMessagesCostNoMemory(t *testing.T) {
	const part = "Content-Type: application/octet-stream\r\n\r\n"
	const top = "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
	for name, c := range map[string]struct{ head, repeated string }{
		"fields":       {"", "X-Field: x\r\n"},
		"kept fields":  {"", "Subject: x\r\n"},
		"field":        {"Subject: ", "x"},
		"folds":        {"Subject: x\r\n", " x\r\n"},
		"blanks":       {top + "--b", " "},
		"parts":        {top, "--b\r\n" + part + "x\r\n"},
		"part fields":  {top + "--b\r\n", "X-Field: x\r\n"},
		"long line":    {top + "--b\r\n" + part + armorBegin, "QUJD"},
		"quoted":       {top + "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n" + part, "="},
		"base64 keys":  {top + "--b\r\nContent-Transfer-Encoding: base64\r\n" + part, "QUJD"},
		"blank text":   {"Secure-Join: vc-request\r\n\r\nSecure-Join: vc-request", " \r\n"},
		"tiny packets": {top + "--b\r\n" + part + armorBegin, "wQDBAMEA\r\n"},
	} {
		piece := bytes.Repeat([]byte(c.repeated), max(4<<20/len(c.repeated)/256, 1))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := New(Outgoing)
		w.Write([]byte(c.head))
		for range 256 {
			w.Write(piece)
		}
		w.Verdict()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 128<<10 {
			t.Errorf("%s: %d octets allocated", name, n)
		}
	}
}
