//! Lays rows out in columns.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Something of which a listing has many.
pub(crate) trait Row: Serialize + Sized + 'static {
    /// The columns, from left to right.
    const COLUMNS: &'static [Column<Self>];
}

/// A column of a listing.
pub(crate) struct Column<T> {
    head: &'static str,
    is_wide: bool,
    is_number: bool,
    cell: fn(&T) -> String,
}

impl<T> Column<T> {
    /// A column of words.
    pub(crate) const fn words(head: &'static str, cell: fn(&T) -> String) -> Self {
        Self { head, is_wide: false, is_number: false, cell }
    }

    /// A column of numbers.
    pub(crate) const fn numbers(head: &'static str, cell: fn(&T) -> String) -> Self {
        Self { head, is_wide: false, is_number: true, cell }
    }

    /// Leaves the column to wide listings.
    pub(crate) const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }
}

/// Writes the heads and a line for each row; numbers stand to the right.
pub(crate) fn columns<T: Row>(rows: &[T], wide: bool) -> String {
    let shown: Vec<&Column<T>> = T::COLUMNS.iter().filter(|column| wide || !column.is_wide).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(shown.iter().map(|column| column.head));
    for row in rows {
        table.add_row(shown.iter().map(|column| (column.cell)(row)));
    }
    for (column, layout) in shown.iter().zip(table.column_iter_mut()) {
        layout.set_padding((0, 2));
        if column.is_number {
            layout.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Ship(&'static str, u64);

    impl Row for Ship {
        const COLUMNS: &'static [Column<Self>] = &[
            Column::words("SHIP", |ship| ship.0.to_owned()),
            Column::numbers("CREW", |ship| ship.1.to_string()),
            Column::words("HOME", |_| "sea".to_owned()).wide(),
        ];
    }

    #[test]
    fn words_stand_to_the_left_and_numbers_to_the_right() {
        let ships = [Ship("Pequod", 30), Ship("Terra Nova", 9)];
        assert_eq!(columns(&ships, false), "SHIP        CREW\nPequod        30\nTerra Nova     9\n");
        assert_eq!(columns(&ships[..1], true), "SHIP    CREW  HOME\nPequod    30  sea\n");
    }

    #[test]
    fn no_rows_leave_the_heads() {
        assert_eq!(columns::<Ship>(&[], false), "SHIP  CREW\n");
    }
}
