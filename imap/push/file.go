package push

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"barid/internal/journal"
	"barid/smtp"
)

const (
	fileName = "queue"
	newName  = "queue.new"
	maxLine  = 512 // octets; the longest that is written has some 400
	// spare is how much of the file may be out of date, beside as much again as
	// is not.
	spare = 1 << 20
)

// file is the queue on disk. Each line is one change, later ones win:
//
//	SUM + ADDRESS DIGEST QUEUED ATTEMPTS DUE    waits
//	SUM - ADDRESS DIGEST                        does not wait any more
//
// SUM is CRC-32C of what follows the space, in hexadecimal; DIGEST is base64
// (RFC 4648 section 5); times are milliseconds since 1970. A line that is bad
// is passed over, so damage costs what it hits.
type file struct {
	fs     journal.FS
	out    journal.File
	octets int64
	synced bool // nothing is written since the last flush
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// lineSize is what a waiting item takes in the file, about.
func lineSize(k key) int64 {
	return int64(len("00000000 +  0123456789012345678901 1234567890123 0 1234567890123\n") + len(k.account.LocalPart) + 1 + len(k.account.Domain))
}

func appendLine(b []byte, text string) []byte {
	return fmt.Appendf(b, "%08x %s\n", crc32.Checksum([]byte(text), castagnoli), text)
}

func appendWaiting(b []byte, it *item) []byte {
	return appendLine(b, fmt.Sprintf("+ %s %s %d %d %d", it.account.Wire(), it.token, it.queued, it.attempts, it.due))
}

func appendGone(b []byte, k key) []byte {
	return appendLine(b, fmt.Sprintf("- %s %s", k.account.Wire(), k.token))
}

// String gives the text of a digest, as the file has it.
func (d digest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

// change is what a line says.
type change struct {
	key
	gone        bool
	queued, due int64
	attempts    uint8
}

var errLine = errors.New("bad line")

// parseLine reads a line without its end. Every error is errLine.
func parseLine(line string) (c change, err error) {
	sum, text, ok := strings.Cut(line, " ")
	want, err := strconv.ParseUint(sum, 16, 32)
	if !ok || err != nil || len(sum) != 8 || crc32.Checksum([]byte(text), castagnoli) != uint32(want) {
		return c, errLine
	}
	f := strings.Split(text, " ")
	if c.gone = f[0] == "-"; len(f) != 6 && !(c.gone && len(f) == 3) || !c.gone && f[0] != "+" {
		return c, errLine
	}
	at := strings.LastIndexByte(f[1], '@')
	if at < 1 || at > smtp.MaxLocalPart || at == len(f[1])-1 || len(f[1])-at-1 > smtp.MaxDomain {
		return c, errLine
	}
	c.account = smtp.Address{LocalPart: f[1][:at], Domain: strings.ToLower(f[1][at+1:])}
	token, err := base64.RawURLEncoding.Strict().DecodeString(f[2])
	if err != nil || len(token) != len(c.token) {
		return c, errLine
	}
	copy(c.token[:], token)
	if c.gone {
		return c, nil
	}
	attempts, err1 := strconv.ParseUint(f[4], 10, 8)
	queued, err2 := strconv.ParseInt(f[3], 10, 64)
	due, err3 := strconv.ParseInt(f[5], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || queued < 0 || due < 0 {
		return c, errLine
	}
	c.attempts, c.queued, c.due = uint8(attempts), queued, due
	return c, nil
}

// readChanges reads a file and gives what waits, the oldest first, at most
// most of it, and how many lines were bad; with an error, what came before it.
// An unfinished last line is no fault: the process ended while it was written.
func readChanges(r io.Reader, most int) (waiting []change, bad int, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	found := map[key]change{}
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			bad++
			if err == nil {
				continue
			}
			fallthrough
		case err != nil:
			for _, c := range found {
				waiting = append(waiting, c)
			}
			slices.SortFunc(waiting, func(x, y change) int { return cmp.Compare(x.queued, y.queued) })
			if err == io.EOF {
				err = nil
			}
			return waiting[max(0, len(waiting)-most):], bad, err
		}
		c, err := parseLine(string(line[:len(line)-1]))
		_, known := found[c.key]
		switch {
		case err != nil:
			bad++
		case c.gone:
			delete(found, c.key)
		case known || len(found) < 4*most: // the bound is for a file that was not written by us
			found[c.key] = c
		}
	}
}

// read reads the file that an earlier run left, if there is one.
func (f *file) read(most int) (waiting []change, bad int, err error) {
	in, err := f.fs.OpenFile(fileName, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open the queue: %w", err)
	}
	defer in.Close()
	if waiting, bad, err = readChanges(in, most); err != nil {
		return waiting, bad, fmt.Errorf("read the queue: %w", err)
	}
	return waiting, bad, nil
}

// begin makes the file anew; more follows with write, and commit puts it into
// the place of the old one.
func (f *file) begin() (*file, error) {
	out, err := f.fs.OpenFile(newName, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("make the queue anew: %w", err)
	}
	return &file{fs: f.fs, out: out}, nil
}

// commit puts a file that was begun into its place and closes the old one.
func (f *file) commit(next *file) error {
	err := next.out.Datasync()
	if err == nil {
		err = f.fs.Rename(newName, fileName)
	}
	if err == nil {
		err = f.fs.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("make the queue anew: %w", errors.Join(err, next.out.Close()))
	}
	old := f.out
	*f = *next
	f.synced = true
	if old != nil {
		old.Close() // nothing of it is needed
	}
	return nil
}

// write appends lines; flush makes them survive the machine.
func (f *file) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	f.synced = false
	n, err := f.out.Write(b)
	f.octets += int64(n)
	if err != nil {
		return fmt.Errorf("write the queue: %w", err)
	}
	return nil
}

func (f *file) flush() error {
	if f.synced || f.out == nil {
		return nil
	}
	if err := f.out.Datasync(); err != nil {
		return fmt.Errorf("flush the queue: %w", err)
	}
	f.synced = true
	return nil
}

func (f *file) close() error {
	if f.out == nil {
		return nil
	}
	return f.out.Close()
}
