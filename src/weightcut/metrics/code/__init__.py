"""Source text of programs: languages, n-grams, syntax trees and where values come from."""
