#!/bin/sh
# Marks of white wines from a table without a header, by the command line alone: as an amount, then as a class.
#
#     sh recipes/wine.sh FOLDER        (or LADLE_DATA=FOLDER; FOLDER/wine_quality/winequality-white.csv)
#
# The table says its mean and deviation (5.887, 0.891) in the notes of run.json: losses and errors of amounts are in
# deviations. Seeds 0 and 1, the split is the same: validation MAE 0.587 and 0.590 deviations = 0.52 and 0.53 marks, RMSE
# 0.68 and 0.69 marks, R2 0.39 and 0.36 (1 - valid_loss / 0.936, the variance of the validation part); as classes,
# accuracy 57.6 and 58.1 %. 937 rows repeat an earlier one, so copies are in both parts. Two CPU cores, 10 s each.
set -eu

data=${1:-${LADLE_DATA:-.}}
file=$data/wine_quality/winequality-white.csv
if [ ! -f "$file" ]; then
    echo "$file is missing: try sh recipes/wine.sh FOLDER or LADLE_DATA=FOLDER, with the folder of wine_quality/" >&2
    exit 2
fi

# The first line is data, so the columns are called c0 to c11, and the last one is the target. Marks are whole numbers,
# which would be taken as classes: --kind says that they are amounts.
for kind in regression classification; do
    ladle train "$file" --kind $kind --size 64 --until "${UNTIL:-60 epochs, patience 8}" --seed "${SEED:-0}" \
        --out "${OUT:-runs}/wine-$kind" --quiet
done
