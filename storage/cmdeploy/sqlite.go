package cmdeploy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// ErrSQLite means that a file is no SQLite database, is broken, or has what
// is not read here.
var ErrSQLite = errors.New("bad SQLite database")

// Bounds of a database.
const (
	maxDBDepth   = 20
	maxDBPayload = 1 << 20 // octets of one row
	maxDBColumns = 100
	dbHeader     = 100 // octets before the first page's b-tree
)

// database reads rows of tables of an SQLite 3 file that nobody writes to, and
// no more: no indexes, no queries.
//
// Source: sqlite.org/fileformat2.html.
type database struct {
	r      io.ReaderAt
	page   int // octets
	usable int // of a page
	pages  uint32
	left   uint32 // pages that may still be read: each belongs to one place
}

func dbError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSQLite, fmt.Sprintf(format, args...))
}

// openDatabase reads the header of a file of that size.
func openDatabase(r io.ReaderAt, size int64) (*database, error) {
	var h [dbHeader]byte
	if _, err := r.ReadAt(h[:], 0); err != nil || !bytes.HasPrefix(h[:], []byte("SQLite format 3\x00")) {
		return nil, dbError("it does not begin as one")
	}
	d := &database{r: r, page: int(binary.BigEndian.Uint16(h[16:]))}
	if d.page == 1 {
		d.page = 1 << 16
	}
	if d.page < 512 || d.page&(d.page-1) != 0 {
		return nil, dbError("pages of %d octets", d.page)
	}
	if d.usable = d.page - int(h[20]); d.usable < 480 {
		return nil, dbError("%d usable octets in a page", d.usable)
	}
	if encoding := binary.BigEndian.Uint32(h[56:]); encoding != 1 {
		return nil, dbError("text encoding %d, not UTF-8", encoding)
	}
	d.pages = uint32(min(size/int64(d.page), math.MaxUint32))
	return d, nil
}

// read gives a page. Pages count from 1.
func (d *database) read(n uint32) ([]byte, error) {
	if n == 0 || n > d.pages {
		return nil, dbError("page %d of %d", n, d.pages)
	}
	if d.left == 0 {
		return nil, dbError("pages that belong to several places")
	}
	d.left--
	b := make([]byte, d.page)
	if _, err := d.r.ReadAt(b, int64(n-1)*int64(d.page)); err != nil {
		return nil, fmt.Errorf("read SQLite database: %w", err)
	}
	return b, nil
}

// table calls f with the columns of each row of the table whose b-tree begins
// at that page: nil, int64, string, or []byte, which a float is left as, too.
func (d *database) table(root uint32, f func(row []any) error) error {
	d.left = d.pages
	return d.walk(root, 0, f)
}

func (d *database) walk(n uint32, depth int, f func([]any) error) error {
	if depth == maxDBDepth {
		return dbError("deeper than %d pages", maxDBDepth)
	}
	b, err := d.read(n)
	if err != nil {
		return err
	}
	at := 0
	if n == 1 {
		at = dbHeader
	}
	const interior, leaf = 0x05, 0x0d
	kind, cells := b[at], int(binary.BigEndian.Uint16(b[at+3:]))
	pointers := at + 8
	if kind == interior {
		pointers = at + 12
	}
	if kind != interior && kind != leaf || pointers+2*cells > d.usable {
		return dbError("page %d is none of a table", n)
	}
	for i := range cells {
		cell := int(binary.BigEndian.Uint16(b[pointers+2*i:]))
		if cell < pointers || cell+4 > d.usable {
			return dbError("a cell outside of page %d", n)
		}
		if kind == interior {
			err = d.walk(binary.BigEndian.Uint32(b[cell:]), depth+1, f)
		} else {
			err = d.row(b[cell:d.usable], f)
		}
		if err != nil {
			return err
		}
	}
	if kind == interior {
		return d.walk(binary.BigEndian.Uint32(b[at+8:]), depth+1, f)
	}
	return nil
}

// row reads a cell of a leaf.
func (d *database) row(cell []byte, f func([]any) error) error {
	size, n := dbVarint(cell)
	_, m := dbVarint(cell[n:])
	if n == 0 || m == 0 || size > maxDBPayload {
		return dbError("a row of %d octets", size)
	}
	payload, err := d.payload(cell[n+m:], int(size))
	if err != nil {
		return err
	}
	row, err := dbRecord(payload)
	if err != nil {
		return err
	}
	return f(row)
}

// payload gathers what begins in a cell and goes on in overflow pages.
func (d *database) payload(cell []byte, size int) ([]byte, error) {
	here := size
	if most := d.usable - 35; size > most {
		least := (d.usable-12)*32/255 - 23
		if here = least + (size-least)%(d.usable-4); here > most {
			here = least
		}
	}
	if here > len(cell) {
		return nil, dbError("a row outside of its page")
	}
	if here == size {
		return cell[:size], nil
	}
	if here+4 > len(cell) {
		return nil, dbError("a row outside of its page")
	}
	payload := append(make([]byte, 0, size), cell[:here]...)
	for next := binary.BigEndian.Uint32(cell[here:]); len(payload) < size; {
		b, err := d.read(next)
		if err != nil {
			return nil, err
		}
		payload = append(payload, b[4:min(d.usable, 4+size-len(payload))]...)
		next = binary.BigEndian.Uint32(b)
	}
	return payload, nil
}

// dbVarint reads a number and tells how many octets it has, zero when b ends
// before it.
func dbVarint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		n++
		if b[n-1] < 0x80 {
			return v, n
		}
	}
	if n < len(b) && n == 8 {
		return v<<8 | uint64(b[8]), 9
	}
	return 0, 0
}

// dbRecord reads the columns of a row.
func dbRecord(b []byte) ([]any, error) {
	size, n := dbVarint(b)
	if n == 0 || size > uint64(len(b)) || size < uint64(n) {
		return nil, dbError("the header of a row")
	}
	header, body := b[n:size], b[size:]
	var row []any
	for len(header) > 0 {
		kind, n := dbVarint(header)
		if n == 0 || len(row) == maxDBColumns {
			return nil, dbError("the header of a row")
		}
		header = header[n:]
		octets := dbOctets(kind)
		if octets > uint64(len(body)) {
			return nil, dbError("a value outside of its row")
		}
		row = append(row, dbValue(kind, body[:octets]))
		body = body[octets:]
	}
	return row, nil
}

// dbOctets is how many octets a value of that serial type has.
func dbOctets(kind uint64) uint64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind >= 8 || kind == 0:
		return 0
	}
	return [...]uint64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
}

func dbValue(kind uint64, b []byte) any {
	switch {
	case kind == 0:
		return nil
	case kind <= 6:
		v := int64(int8(b[0]))
		for _, c := range b[1:] {
			v = v<<8 | int64(c)
		}
		return v
	case kind == 8 || kind == 9:
		return int64(kind - 8)
	case kind >= 13 && kind%2 == 1:
		return string(b)
	}
	return bytes.Clone(b)
}

// columns finds a table and gives its first page and the names of its columns,
// in lower case.
func (d *database) columns(name string) (root uint32, columns []string, err error) {
	err = d.table(1, func(row []any) error {
		if len(row) < 5 || row[0] != "table" || row[1] != name {
			return nil
		}
		page, ok := row[3].(int64)
		sql, ok2 := row[4].(string)
		if !ok || !ok2 || page < 1 || page > int64(d.pages) || strings.Contains(strings.ToUpper(sql), "WITHOUT ROWID") {
			return dbError("the table %s is of a kind that is not read", name)
		}
		root, columns = uint32(page), columnNames(sql)
		return nil
	})
	if err == nil && root == 0 {
		err = dbError("it has no table %s", name)
	}
	return root, columns, err
}

// columnNames reads "CREATE TABLE t (a TEXT, b INTEGER DEFAULT (1), ...)".
func columnNames(sql string) (names []string) {
	_, body, _ := strings.Cut(sql, "(")
	depth, start := 0, 0
	add := func(part string) {
		if words := strings.Fields(part); len(words) > 0 {
			names = append(names, strings.ToLower(strings.Trim(words[0], "\"`[]'")))
		}
	}
	for i, c := range body {
		switch {
		case c == '(':
			depth++
		case c == ')' && depth == 0:
			add(body[start:i])
			return names
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			add(body[start:i])
			start = i + 1
		}
	}
	return names
}
