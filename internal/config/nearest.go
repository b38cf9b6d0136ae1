package config

import (
	"fmt"
	"strings"
)

// nearest tells what somebody who wrote the unknown key path probably meant:
// the right key, and the end of a sentence that names it. Both are empty when
// nothing is near. Letter case does not count.
func (s *schema) nearest(path string) (key, hint string) {
	path = strings.ToLower(path)
	table, leaf := split(path)
	// The same key in another table comes first: it is right but for its place.
	best, bestOff := field{}, 1<<30
	for _, f := range s.fields {
		off := distance(path, f.path)
		if f.leaf == leaf {
			off = 0
		} else if f.table != table {
			off = min(off, distance(leaf, f.leaf)+1)
		}
		if off < bestOff {
			best, bestOff = f, off
		}
	}
	switch {
	case bestOff > tolerance(leaf):
		return "", ""
	case best.table == table:
		return best.path, fmt.Sprintf(", did you mean %s?", best.path)
	case best.table == "":
		return best.path, fmt.Sprintf(", did you mean %s? It stands above the first [table]", best.path)
	}
	return best.path, fmt.Sprintf(", did you mean %s? It belongs in [%s]", best.path, best.table)
}

// nearestTable gives the table that was probably meant, or nothing.
func (s *schema) nearestTable(name string) string {
	return nearestWord(name, s.tables)
}

// nearestWord gives the word that is nearest to s, or nothing when none is
// near. Letter case does not count, and a word that begins with the other is
// near.
func nearestWord(s string, words []string) string {
	s = strings.ToLower(s)
	best, bestOff := "", tolerance(s)+1
	for _, word := range words {
		w := strings.ToLower(word)
		off := distance(s, w)
		if n := min(len(s), len(w)); n >= 3 && s[:n] == w[:n] {
			off = min(off, 1)
		}
		if off < bestOff {
			best, bestOff = word, off
		}
	}
	return best
}

// tolerance is how many letters of a word may be wrong for a guess.
func tolerance(word string) int { return max(1, min(len(word)/3, 5)) }

// maxDistance bounds the length of what is compared, in octets, and is the
// distance of anything longer.
const maxDistance = 100

// distance is the Levenshtein distance, with two swapped neighbours counting
// as one.
func distance(a, b string) int {
	if len(a) > maxDistance || len(b) > maxDistance {
		return maxDistance
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
