package local

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// maxLine is the longest line that is written or read, in octets. One of a
// name and a hash has less than 1200.
const maxLine = 2048

// lineFile is an append-only file of lines, each with a checksum of its own:
// whatever a crash or a disk does to it costs the lines that it hit. The first
// line tells what the file is. Who uses one sees to it that nobody else does.
type lineFile struct {
	s     *Store
	name  string
	title string // "barid-accounts 1"

	known bool  // the fields below are
	size  int64 // where the next line goes; zero is no file
	open  bool  // what lies before size does not end with a line
}

// errTitle is about a line file of a version that this program does not know.
var errTitle = errors.New("of another version of this program")

// look finds out where the file ends.
func (l *lineFile) look() error {
	if l.known {
		return nil
	}
	f, err := l.s.fs.OpenFile(l.name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		l.known, l.size, l.open = true, 0, false
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	last := []byte{'\n'}
	if info.Size() > 0 {
		if _, err := f.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
	}
	l.known, l.size, l.open = true, info.Size(), last[0] != '\n'
	return nil
}

// read gives each line that is whole, and where it begins, from a place on,
// and counts what is not whole. A file that is not there has none.
func (l *lineFile) read(from int64, f func(at int64, text string)) (bad int, err error) {
	file, err := l.s.fs.OpenFile(l.name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(file, from, max(info.Size()-from, 0)), maxLine)
	for at := from; ; {
		line, err := in.ReadSlice('\n')
		begin := at
		at += int64(len(line))
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = in.ReadSlice('\n')
			at += int64(len(line))
			line = nil // no line of ours
		}
		if err == nil {
			text, ok := l.unseal(string(line))
			switch {
			case ok && strings.HasPrefix(text, l.word()+" "):
				if text != l.title {
					return bad, fmt.Errorf("%s is %w", l.name, errTitle)
				}
			case ok:
				f(begin, text)
			default:
				bad++
			}
			continue
		}
		if !errors.Is(err, io.EOF) {
			return bad, err
		}
		if at > begin {
			bad++
		}
		return bad, nil
	}
}

// word is the first word of the title, which no other line begins with.
func (l *lineFile) word() string {
	word, _, _ := strings.Cut(l.title, " ")
	return word
}

// line gives the one line that begins at a place.
func (l *lineFile) line(at int64) (text string, err error) {
	f, err := l.s.fs.OpenFile(l.name, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(io.NewSectionReader(f, at, maxLine), maxLine).ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := l.unseal(line)
	if !ok {
		return "", fmt.Errorf("%s: a line has changed", l.name)
	}
	return text, nil
}

// seal gives the line of a text, which has no end of line in it.
func (l *lineFile) seal(text string) string {
	return fmt.Sprintf("%s %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func (l *lineFile) unseal(line string) (text string, ok bool) {
	line, ended := strings.CutSuffix(line, "\n")
	at := strings.LastIndexByte(line, ' ')
	if !ended || at < 0 || len(line)-at != 9 {
		return "", false
	}
	sum, err := strconv.ParseUint(line[at+1:], 16, 32)
	return line[:at], err == nil && uint32(sum) == crc32.Checksum([]byte(line[:at]), castagnoli)
}

// append appends lines, and tells where the first begins. They are not
// flushed. After an error they may be there in part.
func (l *lineFile) append(texts ...string) (at int64, err error) {
	if len(texts) == 0 {
		return l.size, nil
	}
	if err := l.look(); err != nil {
		return 0, err
	}
	var b strings.Builder
	switch {
	case l.size == 0:
		b.WriteString(l.seal(l.title))
	case l.open:
		b.WriteByte('\n')
	}
	at = l.size + int64(b.Len())
	for _, text := range texts {
		b.WriteString(l.seal(text))
	}
	f, err := l.s.fs.OpenFile(l.name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt([]byte(b.String()), l.size)
	if err = errors.Join(err, f.Close()); err != nil {
		l.known = false // it may have more than it had
		return 0, err
	}
	l.size, l.open = l.size+int64(b.Len()), false
	return at, nil
}

// flush makes what was appended durable.
func (l *lineFile) flush() error {
	if l.s.cfg.NoSync {
		return nil
	}
	f, err := l.s.fs.OpenFile(l.name, os.O_RDWR)
	if err != nil {
		return err
	}
	if err = errors.Join(f.Datasync(), f.Close()); err != nil {
		return l.s.lost(err)
	}
	return l.s.syncDirs(".")
}

// rewrite makes the file anew of the lines that fill writes, durably: at any
// time it is the old one or the new one.
func (l *lineFile) rewrite(fill func(write func(text string))) error {
	fresh := &lineFile{s: l.s, name: l.name + ".new", title: l.title}
	if err := l.s.createFile(fresh.name, func(w io.Writer) error {
		_, err := io.WriteString(w, l.seal(l.title))
		fill(func(text string) {
			if err == nil {
				_, err = io.WriteString(w, l.seal(text))
			}
		})
		return err
	}); err != nil {
		return err
	}
	if err := fresh.flush(); err != nil {
		return err
	}
	if err := l.s.fs.Rename(fresh.name, l.name); err != nil {
		return err
	}
	l.known = false
	return l.s.syncDirs(".")
}
