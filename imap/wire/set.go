package wire

import (
	"cmp"
	"slices"
	"strconv"
)

// Set is a set of message numbers or UIDs as a client gave it: ranges, in
// any order and overlapping. It is never expanded.
type Set []Range

// Range is one range of a Set. Star stands for the largest number in use.
// First may be larger than Last.
type Range struct{ First, Last uint32 }

// Star is "*" in a Range. No message has this number.
const Star = 0

// Set takes a sequence-set (RFC 9051 section 9). Zero is no number.
func (c *Command) Set() Set {
	if !c.token() {
		return nil
	}
	var set Set
	for {
		r := Range{First: c.setNumber()}
		r.Last = r.First
		if c.take(':') {
			r.Last = c.setNumber()
		}
		if c.err != nil {
			return nil
		}
		set = append(set, r)
		if !c.take(',') {
			return set
		}
	}
}

// SetOrSaved takes a set, or "$", the result of the last search that was
// saved (RFC 5182).
func (c *Command) SetOrSaved() (set Set, saved bool) {
	if c.Next('$') {
		if c.token() {
			c.take('$')
		}
		return nil, true
	}
	return c.Set(), false
}

func (c *Command) setNumber() uint32 {
	if c.take('*') {
		return Star
	}
	digits := c.span(isDigit)
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		c.fail("Bad number set")
		return 0
	}
	return uint32(n)
}

// Resolve gives the set with Star replaced by largest, as ascending ranges
// that neither overlap nor touch. Zero for largest means that there are no
// numbers: ranges with Star then vanish.
func (s Set) Resolve(largest uint32) Set {
	out := make(Set, 0, len(s))
	for _, r := range s {
		if (r.First == Star || r.Last == Star) && largest == 0 {
			continue
		}
		if r.First == Star {
			r.First = largest
		}
		if r.Last == Star {
			r.Last = largest
		}
		if r.First > r.Last {
			r.First, r.Last = r.Last, r.First
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	merged := out[:0]
	for _, r := range out {
		if n := len(merged); n > 0 && uint64(r.First) <= uint64(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Has tells whether a resolved set contains n.
func (s Set) Has(n uint32) bool {
	i, found := slices.BinarySearchFunc(s, n, func(r Range, n uint32) int { return cmp.Compare(r.First, n) })
	return found || i > 0 && s[i-1].Last >= n
}

// Without gives what is left of a resolved set without those ascending
// numbers, as a resolved set. It is as long as both together, at most.
func (s Set) Without(ascending []uint32) Set {
	var out Set
	for _, r := range s {
		first := r.First
		i, _ := slices.BinarySearch(ascending, first)
		for ; i < len(ascending) && ascending[i] <= r.Last; i++ {
			if n := ascending[i]; n > first {
				out = append(out, Range{first, n - 1})
			}
			first = ascending[i] + 1
		}
		if first != 0 && first <= r.Last { // zero: the largest number there is was left out
			out = append(out, Range{first, r.Last})
		}
	}
	return out
}

// Within gives the part of a resolved set from first to last.
func (s Set) Within(first, last uint32) Set {
	var out Set
	for _, r := range s {
		if r.First, r.Last = max(r.First, first), min(r.Last, last); r.First <= r.Last {
			out = append(out, r)
		}
	}
	return out
}

// String gives a resolved set as it is written.
func (s Set) String() string {
	var b []byte
	for i, r := range s {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(r.First), 10)
		if r.Last > r.First {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(r.Last), 10)
		}
	}
	return string(b)
}

// FormatSet gives ascending numbers as a set, neighbours as ranges.
func FormatSet(ascending []uint32) string {
	var b []byte
	for i := 0; i < len(ascending); {
		j := i
		for j+1 < len(ascending) && ascending[j+1] == ascending[j]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(ascending[i]), 10)
		if j > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(ascending[j]), 10)
		}
		i = j + 1
	}
	return string(b)
}
