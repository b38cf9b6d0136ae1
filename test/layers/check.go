package layers

import (
	"fmt"
	"slices"
	"strings"
)

// Package is what the rules look at: the files of one directory that are
// compiled into the binary, so without its tests.
type Package struct {
	Path    string   // below the module, "smtp/wire"
	Name    string   // of its package clause
	Imports []string // as written
	Inits   []string // where it has a func init, "file.go:12"
}

// Check lists every breach of the rules, in the order of the packages.
func Check(packages []Package) []string {
	var breaches []string
	for _, p := range packages {
		if under(p.Path, "test") {
			continue
		}
		breaches = append(breaches, checkSelf(p)...)
		for _, imported := range p.Imports {
			if why := checkImport(p.Path, imported); why != "" {
				breaches = append(breaches, why)
			}
		}
	}
	return breaches
}

func checkSelf(p Package) (breaches []string) {
	if row(p.Path) < 0 {
		breaches = append(breaches, fmt.Sprintf("%s has no row: give it one in test/layers/rules.go", p.Path))
	}
	for _, name := range append(strings.Split(p.Path, "/"), p.Name) {
		if slices.Contains(emptyNames, name) {
			breaches = append(breaches, fmt.Sprintf("%s: %q says nothing about what is inside", p.Path, name))
			break
		}
	}
	for _, at := range p.Inits {
		breaches = append(breaches, fmt.Sprintf("%s has a func init at %s: two relays live in one process", p.Path, at))
	}
	return breaches
}

// checkImport tells why the package at path must not import what it does.
func checkImport(path, imported string) string {
	target, ours := strings.CutPrefix(imported, module+"/")
	switch {
	case imported == "testing" || strings.HasPrefix(imported, "testing/"):
		if !slices.Contains(suites, path) {
			return fmt.Sprintf("%s imports %s outside of its tests", path, imported)
		}
	case !ours:
		for theirs, room := range rooms {
			if under(imported, theirs) && !under(path, room) {
				return fmt.Sprintf("%s imports %s, which only %s may", path, imported, room)
			}
		}
	case under(target, "test") || slices.Contains(suites, target):
		return fmt.Sprintf("%s imports %s, which is for tests", path, target)
	case row(path) < 0 || row(target) < 0: // said by checkSelf
	case row(target) < row(path):
		return fmt.Sprintf("%s imports %s, which stands above it", path, target)
	case row(target) == row(path) && !mayImportSideways(path, target):
		return fmt.Sprintf("%s imports %s, which stands beside it", path, target)
	}
	return ""
}

// mayImportSideways: within one part, or by a rule that names both.
func mayImportSideways(path, target string) bool {
	from, to := part(path), part(target)
	return from == to || slices.Contains(sideways[from], to)
}

// row gives the index in rows, -1 for none. internal/app is not one of
// internal/...: the upper row is looked at first.
func row(path string) int {
	for i, rooms := range rows {
		for _, room := range rooms {
			if below, ok := strings.CutSuffix(room, "..."); ok && strings.HasPrefix(path, below) || path == room {
				return i
			}
		}
	}
	return -1
}

// part gives the room a package belongs to: "internal/x" for internal/x/y,
// the path itself where rows name each path.
func part(path string) string {
	for _, group := range []string{"internal/", "cmd/"} {
		if below, ok := strings.CutPrefix(path, group); ok {
			name, _, _ := strings.Cut(below, "/")
			return group + name
		}
	}
	return path
}

// under tells whether path is root or below it; a version ("/v2") is below.
func under(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}
